"""The folder of a run becomes a data set on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from tokensal.errors import OutputError, foreign

# what others need to read it; not the log, which has names of machines, nor what is half written
UPLOADED = ["run.json", "README.md", "parts/part-*.parquet"]


def push(path: Path, repo_id: str, *, private: bool, token: str | None) -> str:
    """Upload a folder, and return the address; see `Run.push_to_hub`."""
    from huggingface_hub import HfApi

    sentence = f"Cannot upload {str(path)!r} to {repo_id!r}"
    with foreign(OutputError, sentence, "Log in by `hf auth login`, and see that the hub can be reached."):
        api = HfApi(token=token)
        address = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=address.repo_id,
            repo_type="dataset",
            folder_path=path,
            allow_patterns=UPLOADED,
            commit_message="Upload a run of tokensal",
        )
    return str(address)
