"""TypeScript clients by openapi-typescript and @hey-api/openapi-ts: they compile strictly, and decode every event."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.generated_clients._models import say

NPM = Path(__file__).parent / "npm"
# The `.npmrc` keeps registry URLs out of the lock file.
_OF_THE_PACKAGE = ("package.json", "package-lock.json", ".npmrc")


def check_typescript(document: dict[str, Any], path: Path, folder: Path, environment: Path) -> list[str]:
    """Faults in the clients that are generated from the document at a path."""
    if shutil.which("npm") is None:
        say("TypeScript clients: skipped, npm is not installed")
        return []
    tools = _installed(environment)
    project = folder / "typescript"
    shutil.copytree(NPM, project, ignore=shutil.ignore_patterns(*_OF_THE_PACKAGE))
    shutil.copy(NPM / "package.json", project)
    (project / "node_modules").symlink_to(tools / "node_modules")
    (project / "src" / "node.js").write_text('export { readFileSync } from "node:fs";\n')
    examples, expected = _page(document)
    refused = document["paths"]["/messages"]["post"]["responses"]["403"]
    problem = refused["content"]["application/problem+json"]["examples"]
    (project / "page.json").write_text(json.dumps({"events": examples, "cursor": "e60", "more": False}))
    (project / "problem.json").write_text(json.dumps(problem["not_a_contact"]["value"]))
    for name, command in (
        ("openapi-typescript", ["openapi-typescript", str(path), "--output", "src/schema.ts"]),
        ("@hey-api/openapi-ts", ["openapi-ts", "--silent"]),
        ("tsc", ["tsc"]),
    ):
        if fault := _run([str(tools / "node_modules" / ".bin" / command[0]), *command[1:]], project):
            return [f"{name}: {fault}"]
    shutil.copy(project / "src" / "node.js", project / "built")
    done = subprocess.run(
        ["node", "built/client.js"], cwd=project, check=False, capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        return [f"the TypeScript client failed: {done.stderr[-2000:]}"]
    output = json.loads(done.stdout)
    wanted = {"shown": expected, "bodies": ["See you at eight?"], "isRefused": True}
    say(f"TypeScript: {len(examples)} events, {'ok' if output == wanted else 'wrong'}")
    return [] if output == wanted else [f"the TypeScript client decoded {output}, not {wanted}"]


def _page(document: dict[str, Any]) -> tuple[list[Any], list[list[str]]]:
    """The document's examples of events, and what an app shows of each."""
    schemas = document["components"]["schemas"]
    names = [target.rpartition("/")[2] for target in schemas["EventFrame"]["discriminator"]["mapping"].values()]
    examples = [example for name in names for example in schemas[name]["examples"]]
    return examples, [[example["event"], _shown(example["event"], example["data"])] for example in examples]


def _shown(event: str, data: dict[str, Any]) -> str:
    """As `npm/src/events.ts` has it."""
    match event.split("."):
        case ["message", _]:
            return f"{data['sender_id']} {data['seq']} {data['body'] or '-'}"
        case ["receipt", _]:
            return f"{data['user_id']} {data['read_seq']} {'-' if data['unread'] is None else data['unread']}"
        case ["conversation", _]:
            return f"{data['target']['id']} {data['unread']} {data['last_message']['body']}"
        case ["contact", _]:
            return f"{data['user']['id']} {data['state']}"
        case ["profile", _]:
            return f"own {data['privacy']['last_seen']}" if "privacy" in data else f"{data['id']} {data['contact']}"
        case ["device", "added"]:
            return f"{data['id']} {data['name']}"
        case ["group", "updated"]:
            group = data["group"]
            return f"{group['id']} {group['me']['role'] if 'me' in group else group['membership']}"
        case ["group", "member"]:
            return f"{data['target_id']} {data['member']['user']['id']} {data['membership']}"
        case ["group", "invited"]:
            inviter = "-" if data["inviter"] is None else data["inviter"]["id"]
            return f"{data['group']['id']} {data['group']['membership']} {inviter}"
        case ["group", "requested"]:
            return f"{data['target_id']} {data['user']['id']} {data['pending']}"
    return str(data["id"])


def _installed(environment: Path) -> Path:
    """The locked generators, installed once."""
    tools = environment / "npm"
    digest = hashlib.sha256((NPM / "package-lock.json").read_bytes()).hexdigest()
    stamp = tools / ".installed"
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(tools, ignore_errors=True)
        tools.mkdir(parents=True)
        for name in _OF_THE_PACKAGE:
            shutil.copy(NPM / name, tools)
        subprocess.run(["npm", "ci", "--silent"], cwd=tools, check=True, timeout=300)
        stamp.write_text(digest)
    return tools


def _run(command: list[str], folder: Path) -> str:
    """Return None, or the output of a program that failed."""
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=300)
    return (done.stdout + done.stderr)[-3000:] if done.returncode else ""
