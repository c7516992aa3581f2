"""Files that persons send and bots upload: their bytes, their ids, and their JSON by kind."""

from __future__ import annotations

import mimetypes
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

Json = dict[str, Any]

DOWNLOAD_LIMIT = 20 * 1024 * 1024
UPLOAD_LIMIT = 50 * 1024 * 1024
_FOLDERS = {
    "photo": "photos", "document": "documents", "voice": "voice", "audio": "music",
    "video": "videos", "video_note": "video_notes", "animation": "animations",
    "sticker": "stickers",
}  # fmt: skip
_SUFFIX = {
    "photo": ".jpg", "voice": ".oga", "video": ".mp4", "video_note": ".mp4", "animation": ".mp4",
    "sticker": ".webp", "audio": ".mp3", "document": ".bin",
}  # fmt: skip
_UNKNOWN = "application/octet-stream"
_TIMED = {"duration": 1}
_SIZED = {"width": 320, "height": 240}
_SHAPES: dict[str, Json] = {
    "document": {},
    "voice": _TIMED,
    "audio": _TIMED,
    "video": _SIZED | _TIMED,
    "animation": _SIZED | _TIMED,
    "video_note": {"length": 240} | _TIMED,
    "sticker": {
        "type": "regular", "width": 512, "height": 512, "is_animated": False, "is_video": False,
        "emoji": "👍",
    },
}  # fmt: skip
KINDS = frozenset(_FOLDERS)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file: `path` is where a bot downloads it."""

    id: str
    unique: str
    kind: str
    name: str
    mime: str
    path: str
    data: bytes

    def show(self) -> Json:
        """The File object of getFile."""
        return {
            "file_id": self.id,
            "file_unique_id": self.unique,
            "file_size": len(self.data),
            "file_path": self.path,
        }

    def content(self) -> Any:
        """The value of the message's field for this kind."""
        common: Json = {
            "file_id": self.id,
            "file_unique_id": self.unique,
            "file_size": len(self.data),
        }
        if self.kind == "photo":
            return [common | _SIZED]
        content = common | _SHAPES[self.kind]
        if self.kind in {"document", "audio", "video", "animation"}:
            content["file_name"] = self.name
        return (
            content
            if self.kind in {"sticker", "video_note"}
            else content | {"mime_type": self.mime}
        )


class Files:
    """All files of the world, by id and by path."""

    def __init__(self) -> None:
        self._by_id: dict[str, StoredFile] = {}
        self._by_path: dict[str, StoredFile] = {}

    def store(self, kind: str, name: str, data: bytes, mime: str | None = None) -> StoredFile:
        """Keeps a file of one of `KINDS`."""
        folder, number = _FOLDERS[kind], len(self._by_id)
        suffix = PurePath(name).suffix or _SUFFIX[kind]
        given = mime if mime != _UNKNOWN else None
        guessed = given or mimetypes.guess_type(name)[0] or mimetypes.guess_type(f"x{suffix}")[0]
        stored = StoredFile(
            id=f"F{number}-{secrets.token_urlsafe(24)}",
            unique=f"U{number}-{secrets.token_urlsafe(8)}",
            kind=kind,
            name=name or f"file{suffix}",
            mime=guessed or _UNKNOWN,
            path=f"{folder}/file_{number}{suffix}",
            data=data,
        )
        self.put(stored)
        return stored

    def put(self, stored: StoredFile) -> None:
        """Keeps a file that already has its ids."""
        self._by_id[stored.id] = stored
        self._by_path[stored.path] = stored

    def by_id(self, file_id: str) -> StoredFile | None:
        """The file with this id."""
        return self._by_id.get(file_id)

    def by_path(self, path: str) -> StoredFile | None:
        """The file with this download path."""
        return self._by_path.get(path)

    def all(self) -> Iterable[StoredFile]:
        """Every file, oldest first."""
        return self._by_id.values()
