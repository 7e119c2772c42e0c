"""Map a function over clips, one clip per job, on a Ray cluster; Ray is loaded here and nowhere else."""

from vfer.clips.cluster.driver import each_clip

__all__ = ["each_clip"]
