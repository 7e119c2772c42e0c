"""What the workers that run a detector share."""

from collections.abc import Callable

from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams


class DetectorWorker:
    """Base of the workers that find faces with one detector, which a process builds once."""

    detector: Detector
    params: FacesParams

    @classmethod
    def start(cls, load: Callable[[], Detector], params: FacesParams) -> None:
        """Build this process's detector, and keep OpenCV to one thread, since the workers already fill the cores."""
        import cv2

        cv2.setNumThreads(1)
        cls.detector, cls.params = load(), params
