"""A release is a copy that later edits do not reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import EnvironmentProblem
from holdfast.local import release
from holdfast.model import App


def project(root: Path) -> App:
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "api.py").write_text("version = 1\n")
    (root / ".venv").mkdir()
    (root / ".venv" / "huge").write_text("x")
    (root / "data").mkdir()
    (root / "data" / "rows.bin").write_text("x" * 100)
    return App("svc", str(root), "pkg.api:app", exclude=("data",))


def test_it_holds_the_program_as_it_was(tmp_path: Path) -> None:
    app = project(tmp_path / "src")
    made = release.make(app, 1, tmp_path / "releases")
    (Path(app.root) / "pkg" / "api.py").write_text("version = 2\n")
    assert (made.folder / "pkg" / "api.py").read_text() == "version = 1\n"
    assert sorted(p.name for p in made.folder.iterdir()) == ["pkg"]


def test_a_number_is_made_anew(tmp_path: Path) -> None:
    app = project(tmp_path / "src")
    release.make(app, 1, tmp_path / "releases")
    (Path(app.root) / "pkg" / "api.py").unlink()
    (Path(app.root) / "pkg" / "other.py").write_text("")
    made = release.make(app, 1, tmp_path / "releases")
    assert [p.name for p in (made.folder / "pkg").iterdir()] == ["other.py"]


def test_a_folder_of_data_is_refused_with_the_key_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "LIMIT_BYTES", 10)
    with pytest.raises(EnvironmentProblem) as caught:
        release.make(project(tmp_path / "src"), 1, tmp_path / "releases")
    assert "exclude" in (caught.value.hint or "")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="nowhere"):
        release.make(App("svc", str(tmp_path / "nowhere"), "a:b"), 1, tmp_path / "releases")
