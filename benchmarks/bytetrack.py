"""Follows boxes by ByteTrack and prints their numbers; it runs in an environment of its own (see tracking.py)."""

import json
import sys
from pathlib import Path

import numpy as np


def main(path: Path) -> None:
    """Read `[fps, score, shots]`: lists of frames, lists of boxes (x0, y0, x1, y1, score); print one number per box, or -1."""
    import supervision as sv
    from trackers import ByteTrackTracker

    fps, score, shots = json.loads(path.read_text())
    numbers = []
    for shot in shots:
        tracker = ByteTrackTracker(frame_rate=fps, track_activation_threshold=score, high_conf_det_threshold=score)
        for boxes in shot:
            array = np.array(boxes, np.float32).reshape(-1, 5)
            result = sv.Detections(
                array[:, :4], confidence=array[:, 4], class_id=np.zeros(len(array), int), data={"row": np.arange(len(array))}
            )
            tracks = tracker.update(result)
            ids = [-1] * len(array)
            for row, number in zip(tracks.data.get("row", []), tracks.tracker_id if tracks.tracker_id is not None else [], strict=True):
                ids[int(row)] = int(number)
            numbers.append(ids)
    sys.stdout.write(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
