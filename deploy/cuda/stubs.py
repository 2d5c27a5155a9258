"""Writes stand-ins for NVIDIA's libraries, to link against on a machine that has none: stubs.py FOLDER

Each is a shared object with the real one's soname, and with every function that cudarc declares. All of them fail but those that say
why. A program linked against them finds the real ones at run time, or starts without a GPU if it finds only these.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

# cudarc's module, the library's name, the version in its soname (CUDA 13).
LIBRARIES = [("driver", "cuda", 1), ("cublas", "cublas", 13), ("cublaslt", "cublasLt", 13), ("curand", "curand", 10), ("nvrtc", "nvrtc", 13)]

DECLARATION = re.compile(r'extern "C" \{\s*fn (\w+)\([^{}]*\)(?: -> ([^;]+))?;', re.DOTALL)


def cudarc_sources() -> Path:
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "metadata", "--format-version=1", "--locked", "--features=cuda"]
    packages = json.loads(subprocess.check_output(command))["packages"]
    return next(Path(package["manifest_path"]).parent / "src" for package in packages if package["name"] == "cudarc")


WHY = '"this is no library of NVIDIA, only a stub to link against"'


def stub(name: str, returns: str) -> str:
    if name == "cuGetErrorString":
        return f"long {name}(long error, const char **text) {{ *text = {WHY}; return 0; }}\n"
    if "c_char" in returns:
        return f"const char *{name}(void) {{ return {WHY}; }}\n"
    # CUDA_ERROR_STUB_LIBRARY, which is no success in the other libraries either.
    return f"long {name}(void) {{ return 34; }}\n"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sources = cudarc_sources()
    for module, library, version in LIBRARIES:
        declared = dict(DECLARATION.findall((sources / module / "sys" / "mod.rs").read_text()))
        if not declared:
            sys.exit(f"cudarc declares no functions of lib{library}: has its layout changed?")
        code = "".join(stub(name, declared[name]) for name in sorted(declared))
        soname = f"lib{library}.so.{version}"
        command = ["cc", "-shared", f"-Wl,-soname,{soname}", "-o", str(folder / soname), "-x", "c", "-"]
        subprocess.run(command, input=code, text=True, check=True)
        link = folder / f"lib{library}.so"
        link.unlink(missing_ok=True)
        link.symlink_to(soname)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
