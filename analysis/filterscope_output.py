"""How the scripts print, write files and end."""
import contextlib
import os
import sys


def printable(text):
    """The text with its control characters, and those that are not seen or turn its direction, as \\x1b or \\u202e."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


@contextlib.contextmanager
def naming(path):
    """ValueError names path and cause where a file of that name cannot be read or written."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path}: {os.strerror(error.errno) if error.errno else error}") from None


@contextlib.contextmanager
def written(path):
    """Gives a name to write to, which becomes `path` when all is written; else nothing stays. ValueError names path and cause."""
    part = f"{path}.part"
    try:
        with naming(path):
            yield part
            os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(part)


class _Printer:
    """Standard output that prints what is printable. A failure is kept until end(), so that files are made nevertheless."""

    def __init__(self, stream):
        self._stream, self._failure = stream, None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        with self._keeping():
            self._stream.write(printable(text))
        return len(text)

    def flush(self):
        with self._keeping():
            self._stream.flush()

    def end(self):
        self.flush()
        if self._failure:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # Python would complain of the rest
            raise ValueError(f"standard output: {self._failure}")

    @contextlib.contextmanager
    def _keeping(self):
        try:
            yield
        except OSError as error:
            self._failure = self._failure or error.strerror


def _cause(error):
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def run_main(program, main, *errors):
    """Runs main(). Ends the program with exit code 1 and one line where that raises ValueError, OSError, ImportError or one of
    `errors`, or where what it printed could not be written."""
    if sys.stdout is None:
        sys.exit(f"{program}: standard output: Bad file descriptor")
    printer = _Printer(sys.stdout)
    with contextlib.redirect_stdout(printer):
        try:
            try:
                main()
            finally:
                printer.end()
        except (ValueError, OSError, ImportError, *errors) as error:
            sys.exit(f"{program}: {printable(_cause(error))}")
        except KeyboardInterrupt:
            sys.exit(f"{program}: interrupted")
