"""Compiling kernels: numba does it at first use, keeps the result on disk where it can, and is silent about both.

To import numba and have it read what it kept costs a process one to two seconds. So kernels that take integers and return one
(arrays come by their addresses) are kept as machine code, which llvmlite loads by itself in a tenth of a second: see
`machine_code`.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import functools
import gc
import hashlib
import importlib
import importlib.util
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tokembed.files import atomic_path

PATIENCE_SECONDS = 1.0

_PYTHON_FUNCTIONS = (  # that are called around a kernel
    "PyLong_AsLongLong", "PyLong_FromLongLong", "PyEval_SaveThread", "PyEval_RestoreThread", "PyErr_Occurred",
    "PyErr_BadInternalCall",
)  # fmt: skip
_METH_FASTCALL = 0x80  # of Python's C interface: arguments come as an array
_DIGEST_SIZE = hashlib.sha256().digest_size

_loading = threading.RLock()
_kept_alive: list[Any] = []

_log = logging.getLogger(__name__)  # without a handler, Python writes warnings to stderr as they are


@functools.cache
def can_keep_kernels() -> bool:
    """Tell whether numba finds a folder to keep kernels in: beside the package, else in the user's cache; say so if not.

    Without one its `njit(cache=True)` is an error, and kernels are recompiled in each process.
    """
    from numba import njit

    try:
        njit(cache=True)(can_keep_kernels.__wrapped__)  # looks for the folder, compiles nothing
    except RuntimeError:
        _log.warning(
            "compiled kernels can't be kept (no folder for them is writable), so every run compiles them for some seconds: "
            "set NUMBA_CACHE_DIR to a folder that is"
        )
        return False
    return True


def stand_in_for_old_names(module: str) -> Callable[[str], Any]:
    """Return a kernel module's `__getattr__`, with which numba survives what it kept of an older version.

    Its index names the classes of the arguments, and is unpickled before numba looks whether the source has changed since: a
    class that was renamed would be an error, not a recompilation.
    """

    def get(name: str) -> Any:
        if name[:1].isupper():
            return tuple
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return get


@functools.cache
def _say_once() -> None:
    kept = ": once, a few seconds, kept for the next run" if can_keep_kernels() else ""
    _log.warning("compiling kernels%s", kept)


@contextlib.contextmanager
def say_when_compiling(kernel: Any) -> Iterator[None]:
    """Log one line (once per process) if, inside the block, compiling `kernel` has not ended after `PATIENCE_SECONDS`."""
    if kernel.signatures:  # compiled or read from disk already: no timer, whose thread costs more than a short call
        yield
        return
    # A miss is counted before compiling begins; without one the kernel is only being read, which may take as long.
    with _say_when_slow(lambda: kernel.stats.cache_misses):
        yield


@contextlib.contextmanager
def _say_when_slow(is_compiling: Callable[[], Any]) -> Iterator[None]:
    timer = threading.Timer(PATIENCE_SECONDS, lambda: is_compiling() and _say_once())
    timer.daemon = True
    timer.start()
    collects = gc.isenabled()
    gc.disable()  # numba makes millions of objects and few circles: looking for those is a tenth of the time
    try:
        yield
    finally:
        if collects:
            gc.enable()
        timer.cancel()


class MachineCode(NamedTuple):
    """A kernel: where it is, for other kernels, and as a function for Python, which runs without Python's lock."""

    address: int
    call: Callable[..., int]


@functools.cache
def machine_code(module: str, name: str) -> MachineCode:
    """Return a kernel of a module of ours, such as `"tokembed.bpe._utf8_kernels"`: from its file, else newly compiled."""
    with _loading:  # of several threads one compiles, and the others find what it kept
        of_sources, of_machine = _fingerprint(module)
        name_of_file = f"{name}-{of_sources}-{of_machine}.o"
        folders = list(_folders(module))
        for folder in folders:
            with contextlib.suppress(OSError):
                kept = (folder / name_of_file).read_bytes()
                if hashlib.sha256(kept[_DIGEST_SIZE:]).digest() == kept[:_DIGEST_SIZE]:
                    return _load(kept[_DIGEST_SIZE:])
        code = _compile(module, name)
        for folder in folders:
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                for old in folder.glob(f"{name}-*.o"):
                    if not old.name.startswith(f"{name}-{of_sources}-"):  # of sources that are no more
                        old.unlink()
                with atomic_path(folder / name_of_file) as path:
                    path.write_bytes(hashlib.sha256(code).digest() + code)
                break
        return _load(code)


def _folders(module: str) -> Iterator[Path]:
    """Yield where machine code may be kept, as numba chooses: where the user says, beside the module, in the user's cache."""
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(given)
    yield _room(module) / "__pycache__"
    with contextlib.suppress(RuntimeError):  # a user without a home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tokembed"


def _room(module: str) -> Path:
    return Path(__file__).parent.joinpath(*module.split(".")[1:-1])


@functools.cache
def _fingerprint(module: str) -> tuple[str, str]:
    """Return what machine code depends on: digests of the sources, and of the processor and the compiler."""
    import llvmlite.binding as llvm

    sources = hashlib.sha256()
    for path in [Path(__file__), *sorted(_room(module).glob("_[a-z]*.py"))]:
        sources.update(path.read_bytes())
    machine = (llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    if not (numba := importlib.util.find_spec("numba")):
        raise ModuleNotFoundError("No module named 'numba'", name="numba")
    compiler = Path(str(numba.origin)).with_name("_version.py").read_bytes()
    return sources.hexdigest()[:16], hashlib.sha256(repr((compiler, *machine)).encode()).hexdigest()[:16]


@functools.cache
def _target_machine() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for name in _PYTHON_FUNCTIONS:
        llvm.add_symbol(name, ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value)
    # As numba's own: code that may lie far from what it calls.
    is_x86 = llvm.get_process_triple().startswith(("x86", "i386", "i686"))
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="static" if is_x86 else "default",
        codemodel="jitdefault",
        jit=True,
    )


class _Method(ctypes.Structure):
    """Python's `PyMethodDef`."""

    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


def _load(code: bytes) -> MachineCode:
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    method = _Method(b"kernel", engine.get_function_address("called_by_python"), _METH_FASTCALL, None)
    _kept_alive.append((engine, method))
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes, make.restype = [ctypes.c_void_p] * 3, ctypes.py_object
    return MachineCode(engine.get_function_address("called_by_kernels"), make(ctypes.addressof(method), None, None))


def _compile(module: str, name: str) -> bytes:
    import llvmlite.binding as llvm
    import numba

    with _say_when_slow(lambda: True):
        can_keep_kernels()  # says so if not
        kernel = getattr(importlib.import_module(module), name)
        count = kernel.py_func.__code__.co_argcount
        kernel.compile((numba.int64,) * count)
        overload = next(iter(kernel.overloads.values()))
        made = llvm.parse_assembly(overload.library.get_llvm_str())
        made.link_in(llvm.parse_assembly(_entries(overload.fndesc.llvm_func_name, count)))
        return bytes(_target_machine().emit_object(made))


def _entries(name: str, count: int) -> str:
    """Return LLVM's code of the two functions around numba's, which returns a status, and its result by a pointer."""
    from llvmlite import ir

    number, pointer, status = ir.IntType(64), ir.IntType(8).as_pointer(), ir.IntType(32)
    made = ir.Module()
    arguments = [number] * count
    kernel = ir.Function(made, ir.FunctionType(status, [number.as_pointer(), pointer.as_pointer(), *arguments]), name)

    entry = ir.Function(made, ir.FunctionType(number, arguments), "called_by_kernels")
    build = ir.IRBuilder(entry.append_basic_block())
    result, error = build.alloca(number), build.alloca(pointer)
    build.call(kernel, [result, error, *entry.args])  # nothing in it raises
    build.ret(build.load(result))

    returns = dict.fromkeys(_PYTHON_FUNCTIONS, pointer) | {"PyLong_AsLongLong": number}
    returns |= {"PyErr_BadInternalCall": ir.VoidType(), "PyEval_RestoreThread": ir.VoidType()}
    takes: dict[str, list[Any]] = {each: [] for each in _PYTHON_FUNCTIONS} | {"PyLong_FromLongLong": [number]}
    takes |= {"PyLong_AsLongLong": [pointer], "PyEval_RestoreThread": [pointer]}
    python = {each: ir.Function(made, ir.FunctionType(returns[each], takes[each]), each) for each in _PYTHON_FUNCTIONS}
    method = ir.Function(made, ir.FunctionType(pointer, [pointer, pointer.as_pointer(), number]), "called_by_python")
    _, given, num_given = method.args
    build = ir.IRBuilder(method.append_basic_block())
    with build.if_then(build.icmp_unsigned("!=", num_given, number(count))):
        build.call(python["PyErr_BadInternalCall"], [])
        build.ret(pointer(None))
    values = [build.call(python["PyLong_AsLongLong"], [build.load(build.gep(given, [number(i)]))]) for i in range(count)]
    with build.if_then(build.icmp_unsigned("!=", build.call(python["PyErr_Occurred"], []), pointer(None))):
        build.ret(pointer(None))
    thread = build.call(python["PyEval_SaveThread"], [])
    value = build.call(entry, values)
    build.call(python["PyEval_RestoreThread"], [thread])
    build.ret(build.call(python["PyLong_FromLongLong"], [value]))

    # Arrays made of addresses own nothing, so what would free them is never called; yet numba names it.
    text = str(made)
    return text + '\ndefine linkonce_odr void @"NRT_MemInfo_call_dtor"(i8* %"info") {\n ret void\n}\n'


def _interrupt_main_thread() -> None:
    """Interrupt the main thread, also where it waits, if the system can."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def interrupt_again(unraisable: Any) -> None:
    """Interrupt once more where Python has to ignore it: in what the compiler calls back while it makes or loads a kernel."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        threading.Timer(0.01, _interrupt_main_thread).start()  # from within this call it would be ignored once more
    else:
        sys.__unraisablehook__(unraisable)
