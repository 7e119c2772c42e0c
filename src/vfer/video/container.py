"""Open video files, and only those: regular files of known formats within limits, none of which leads to another file."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from vfer.errors import ClipError

# Demuxers whose files hold their own pictures. Playlists, scripts and patterns (hls, dash, concat, sdp, image2, ...) open other files.
FORMATS = (
    *("3dostr", "apng", "asf", "av1", "avi", "avif", "dv", "flv", "gif", "h263", "h264", "hevc", "ivf", "m4v", "matroska", "mjpeg"),
    *("mov", "mpeg", "mpegts", "mpegvideo", "mxf", "nut", "obu", "ogg", "rm", "vc1", "wtv", "yuv4mpegpipe"),
    *("bmp_pipe", "jpeg_pipe", "png_pipe", "tiff_pipe", "webp_pipe"),
)
PICTURES = (".jpg", ".jpeg")
MAX_BYTES = 64 << 30
"""Bytes of a video file."""
MAX_PIXELS = 8192 * 4608
"""Pixels of a stored picture; 8K has 33 million. A decoder may hold 16 pictures at once."""


@contextmanager
def opened(path: Path, codec: Mapping[str, str] | None = None) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video; yield its container and the stream that players show.

    Args:
        path: A regular file.
        codec: Options of the decoder.

    Raises:
        ClipError: The file is missing, is not a video, or exceeds a limit.
    """
    check_file(path)
    limits = {"max_pixels": str(MAX_PIXELS)}
    try:
        container = av.open(
            f"file:{path}",
            format="jpeg_pipe" if path.suffix.lower() in PICTURES else None,  # by that name FFmpeg would look for numbered files
            metadata_errors="ignore",  # a title in Latin-1 is not a reason to refuse a clip
            options={"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS), **limits},
        )
    except (FFmpegError, OSError, ValueError) as error:
        raise ClipError(f"{path}: cannot be decoded ({reason(error)}); replace or remove the file") from error
    with container:
        stream = _stream(path, container)
        stream.codec_context.options = {**limits, **(codec or {})}
        stream.codec_context.thread_count = 1  # clips run side by side, one thread each
        yield container, stream


def check_file(path: Path) -> None:
    """Raise `ClipError` if a path cannot be accessed, or is not a regular file within the limit on bytes."""
    try:
        state = path.stat()
    except FileNotFoundError as error:
        raise ClipError(f"{path}: cannot be decoded (there is no such file); replace or remove the file") from error
    except (OSError, ValueError) as error:  # its folder may not be entered; its name is too long or holds a zero byte
        raise ClipError(f"{path}: cannot be decoded ({reason(error)}); rename, restore or remove it") from error
    if stat.S_ISDIR(state.st_mode):
        raise ClipError(f"{path}: cannot be decoded (Is a directory); give a video file")
    if not stat.S_ISREG(state.st_mode):
        raise ClipError(f"{path}: cannot be decoded (is not a regular file); give a video file")
    if not state.st_size:
        raise ClipError(f"{path}: cannot be decoded (the file is empty); replace or remove the file")
    if state.st_size > MAX_BYTES:
        raise ClipError(f"{path}: has {state.st_size >> 30} GiB, more than {MAX_BYTES >> 30}; cut it into shorter videos")


def _stream(path: Path, container: InputContainer) -> VideoStream:
    videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not videos:
        pictures = "only a cover picture" if container.streams.video else "no video stream"
        raise ClipError(f"{path}: has {pictures}; give a video")
    best = container.streams.best("video")
    stream = best if best in videos else videos[0]
    if stream.codec_context is None:
        raise ClipError(f"{path}: cannot be decoded (its codec is unknown); convert it, for example to H.264")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_PIXELS:
        raise ClipError(f"{path}: has pictures of {width}x{height} pixels, more than {MAX_PIXELS} in all; scale it down")
    return stream


def aspect(stream: VideoStream) -> Fraction:
    """Return the width of a stream's pixels as a multiple of their height; 1 where that is unknown or absurd."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return Fraction(ratio) if ratio and Fraction(1, 8) <= ratio <= 8 else Fraction(1)


def reason(error: Exception) -> str:
    """Return what an error of FFmpeg or the operating system says, in one line."""
    if isinstance(error, av.error.ArgumentError):  # what FFmpeg answers for a format that is not on the list
        return "it is in no video format that vfer reads"
    if isinstance(error, OSError) and error.errno and not isinstance(error, FFmpegError):
        return os.strerror(error.errno)
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
