//! Which names a pickle of weights may have.

use std::rc::Rc;

/// Packages whose classes and functions a weights file may name and call.
const PACKAGES: [&str; 6] = ["torch", "torchvision", "torchxrayvision", "numpy", "collections", "typing"];

/// Single names of Python's own library beyond those: plain containers, numbers, and what pickle itself needs.
const NAMES: [&str; 8] = [
    "_codecs.encode",
    "copyreg._reconstructor",
    "copy_reg._reconstructor",
    "argparse.Namespace",
    "datetime.datetime",
    "datetime.date",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
];

const BUILTINS: [&str; 14] = [
    "set",
    "frozenset",
    "dict",
    "list",
    "tuple",
    "int",
    "float",
    "bool",
    "str",
    "bytes",
    "bytearray",
    "complex",
    "slice",
    "object",
];

/// Python's own library (`sys.stdlib_module_names` of 3.14 and 3.8, and what Python 2 had beyond them), internal modules apart: those
/// begin with `_`. Everything dangerous that every user has lies here.
const LIBRARY: &str = " abc aifc annotationlib antigravity argparse array ast asynchat asyncio asyncore atexit audioop base64 bdb \
    binascii binhex bisect builtins bz2 cPickle cProfile calendar cgi cgitb chunk cmath cmd code codecs codeop commands compileall \
    compression concurrent configparser contextlib contextvars copy copy_reg copyreg crypt csv ctypes curses dataclasses datetime dbm \
    decimal difflib dis distutils doctest dummy_threading email encodings ensurepip enum errno exceptions execfile faulthandler fcntl \
    filecmp fileinput fnmatch formatter fractions ftplib functools future_builtins gc genericpath getopt getpass gettext glob graphlib \
    grp gzip hashlib heapq hmac html http httplib idlelib imaplib imghdr imp importlib inspect io ipaddress itertools json keyword \
    lib2to3 linecache locale logging lzma macpath macurl2path mailbox mailcap marshal math mimetypes mmap modulefinder msilib msvcrt \
    multiprocessing netrc new nis nntplib nt ntpath nturl2path numbers opcode operator optparse os ossaudiodev parser pathlib pdb pickle \
    pickletools pipes pkgutil platform plistlib popen2 poplib posix posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc \
    pydoc_data pyexpat queue quopri random re readline reprlib resource rlcompleter runpy sched secrets select selectors shelve shlex \
    shutil signal site smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat statistics \
    string stringprep strop struct subprocess sunau symbol symtable sys sysconfig syslog tabnanny tarfile telnetlib tempfile termios \
    textwrap this thread threading time timeit tkinter token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo types \
    unicodedata unittest urllib urllib2 uu uuid venv warnings wave weakref webbrowser winreg winsound wsgiref xdrlib xml xmlrpc xxsubtype \
    zipapp zipfile zipimport zlib zoneinfo ";

/// `module.name`, if a pickle may name it: what weights need, and classes of packages that need not be installed, such as those of a
/// training framework.
///
/// # Errors
/// The name.
pub(super) fn global(module: &str, name: &str) -> Result<Rc<str>, String> {
    let global = format!("{module}.{name}");
    if is_needed(&global) || !is_library(&global) { Ok(global.into()) } else { Err(global) }
}

/// Whether calling it makes a plain value, or an object of a class: functions of other packages are not called for weights.
pub(super) fn may_be_called(global: &str) -> bool {
    let name = global.rsplit('.').next().unwrap_or_default();
    is_needed(global) || (!is_library(global) && name.starts_with(char::is_uppercase))
}

fn is_needed(global: &str) -> bool {
    let builtin = global.strip_prefix("builtins.").or_else(|| global.strip_prefix("__builtin__."));
    PACKAGES.contains(&package(global)) || NAMES.contains(&global) || builtin.is_some_and(|name| BUILTINS.contains(&name))
}

fn is_library(global: &str) -> bool {
    let package = package(global);
    // `__main__` is a user's own script.
    let internal = package.starts_with('_') && package != "__main__";
    package.is_empty() || internal || LIBRARY.contains(&format!(" {package} "))
}

fn package(global: &str) -> &str {
    global.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(global: &str) -> bool {
        let (module, name) = global.rsplit_once('.').unwrap();
        super::global(module, name).is_ok()
    }

    #[test]
    fn what_weights_need_may_be_named_and_called() {
        for name in
            ["collections.OrderedDict", "torch.nn.modules.conv.Conv2d", "builtins.set", "torch._utils._rebuild_tensor_v2"]
        {
            assert!(named(name) && may_be_called(name), "{name}");
        }
    }

    #[test]
    fn classes_of_other_packages_may_be_named_and_their_functions_not_called() {
        for class in
            ["pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint", "omegaconf.dictconfig.DictConfig", "__main__.Net"]
        {
            assert!(named(class) && may_be_called(class), "{class}");
        }
        for function in ["pip.main", "fabric.api.run", "__main__.go", "mmcv.Registry.build"] {
            assert!(named(function) && !may_be_called(function), "{function}");
        }
    }

    #[test]
    fn the_library_of_python_may_not_be_named() {
        for name in [
            "os.system",
            "posix.system",
            "nt.system",
            "subprocess.Popen",
            "__builtin__.eval",
            "builtins.getattr",
            "_io.open",
            "commands.getoutput",
            "cPickle.loads",
            ".x",
        ] {
            assert!(!named(name) && !may_be_called(name), "{name}");
        }
    }
}
