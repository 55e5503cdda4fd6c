"""Scripts that let something befall a training at one moment, and leave a mark once it has."""

from benchmarks.reliability.failing.scenes import WORKDIR

HAPPENED = "happened"  # a file beside the folder of the training, with a letter once it has
# Calls `happen()` before the function that stands for a moment is called for the Nth time.
AT = f"""
import glob, os, resource, shutil, signal, sys, threading, time
marker = os.open({HAPPENED!r}, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
"""
AT += """
import jax
from mnist_jax import experiment
from mnist_jax.training import checkpoint, console

MOMENTS = {
    "compiling": (jax.stages.Lowered, "compile"),
    "training": (console.Console, "update"),
    "restoring": (checkpoint, "load"),
    "saving": (checkpoint, "write"),
    "shown": (console.Console, "end_epoch"),
    "evaluating": (experiment, "_evaluate"),
    "reporting": (experiment, "_publish"),
}
moment, number, how = sys.argv[1:4]
del sys.argv[1:4]

def at(happen):
    def let_happen():
        happen()
        os.write(marker, b"1")
    if moment == "start":
        return let_happen()
    place, name = MOMENTS[moment]
    function, calls = getattr(place, name), []
    def patched(*arguments, **keywords):
        calls.append(name)
        if len(calls) == int(number):
            let_happen()
        return function(*arguments, **keywords)
    setattr(place, name, patched)
"""
RUN = """
from benchmarks import unreported

at(happen)
unreported.main()
"""
TAKE = f"""
def happen():
    if how == "renamed":
        return os.rename({WORKDIR!r}, "elsewhere")
    path = {WORKDIR!r} + ("/checkpoints" if how == "checkpoints" else "")
    while os.path.exists(path):  # the thread that writes a checkpoint may add files meanwhile
        shutil.rmtree(path, ignore_errors=True)
    if how == "file":
        open({WORKDIR!r}, "w").close()
"""
# Leaves that many MiB of address space.
STARVE = """
def happen():
    used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + (int(how) << 20), resource.RLIM_INFINITY))
"""
# The signal comes within the call.
SIGNAL = """
def happen():
    threading.Timer(0.02, os.kill, (os.getpid(), getattr(signal, how))).start()
"""
# As Python sees it: libraries in C++ that wait for a time of the wall clock ask the kernel, whose
# clock must stay as it is.
SET_BACK = """
def happen():
    now = time.time
    time.time = lambda: now() - int(how)
    time.time_ns = lambda: int(time.time() * 1e9)
"""
CACHE = """
def happen():
    (path,) = glob.glob(os.environ["TFDS_DATA_DIR"] + "/mnist_jax/*.cache")
    if how == "deleted":
        os.unlink(path)
    elif how == "replaced":
        shutil.copy(path, path + ".other")
        os.replace(path + ".other", path)
    else:
        os.truncate(path, 4096)
"""
