#!/usr/bin/python3
"""Style of everything that is checked in: swift-format strict, Python compiles and is tidy, shell parses."""

import ast
import os
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
LONGEST_LINE = 140


def tracked():
    output = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, check=True).stdout
    return [name for name in output.decode().split("\0") if name and os.path.exists(os.path.join(ROOT, name))]


def interpreter(path):
    with open(path, "rb") as file:
        first = file.readline(80)
    return first[2:].decode(errors="replace").strip() if first.startswith(b"#!") else ""


def python_faults(name, text):
    try:
        tree = ast.parse(text, name)
    except SyntaxError as error:
        yield f"{name}:{error.lineno}: {error.msg}"
        return
    if not ast.get_docstring(tree) and text.strip():
        yield f"{name}:1: no docstring that says what the file is for"
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and getattr(node, "module", "") != "__future__":
            for alias in node.names:
                imported[(alias.asname or alias.name).split(".")[0]] = node.lineno
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    exported = "__all__" in text
    for symbol, line in imported.items():
        if symbol not in used and not exported:
            yield f"{name}:{line}: {symbol} is imported and not used"


def plain_faults(name, text):
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip():
            yield f"{name}:{number}: white space at the end of the line"
        if len(line) > LONGEST_LINE:
            yield f"{name}:{number}: {len(line)} characters, at most {LONGEST_LINE}"


def main():
    faults = []
    files = tracked()
    swift = [name for name in files if name.endswith(".swift")]
    done = subprocess.run([os.environ.get("SWIFT", "swift"), "format", "lint", "--strict", "--parallel", *swift], cwd=ROOT)
    if done.returncode != 0:
        faults.append("swift format lint --strict found faults (above); `make format` mends most")
    checked = {"Swift": len(swift), "Python": 0, "shell": 0}
    for name in files:
        path = os.path.join(ROOT, name)
        started_by = interpreter(path)
        if name.endswith(".py") or "python" in started_by:
            checked["Python"] += 1
            with open(path, encoding="utf-8") as file:
                text = file.read()
            faults += list(python_faults(name, text)) + list(plain_faults(name, text))
        elif name.endswith(".sh") or started_by.endswith("sh"):
            checked["shell"] += 1
            with open(path, encoding="utf-8") as file:
                faults += list(plain_faults(name, file.read()))
            parsed = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
            if parsed.returncode != 0:
                faults.append(parsed.stderr.strip())
    for fault in faults:
        print(fault)
    print("lint: " + ", ".join(f"{count} {kind}" for kind, count in checked.items()) + f" files, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
