# Made from the command line by `make schemas`.
#
# $1, a verb or nothing -> _tykky_words: what may stand there, one 'word:meaning' a line;
# _tykky_valued: ' option=kind' of each option with a value; _tykky_kinds: the kinds of the arguments in their order,
# the last one of which may come again if + follows it.
_tykky_table() {
    _tykky_words= _tykky_valued= _tykky_kinds=
    case $1 in
    '') _tykky_words='init:write a new tykky.toml
add:add requirements to tykky.toml
remove:remove requirements from tykky.toml
lock:choose exact artifacts and write tykky.lock
build:make what is missing and publish the environment directory
run:run a program of an environment
shell:open a shell inside an environment
info:show an environment: layers, sizes, packages, generation
list:list environments: yours and the site'\''s
activate:put an environment in front of PATH in this shell (with shell-init)
deactivate:undo activate
shell-init:print the functions that activate and complete in a shell
module:write a module file for an environment
tree:show which layer gives which package, and bytes live and dead
diff:compare two generations of an environment: packages, files
history:list the generations of an environment: what changed, when, who, sizes
rollback:make an earlier generation the current one
vendor:make an environment that extends another one stand alone
flatten:make one layer of the layers of an environment
verify:check the images of an environment against what was recorded of them
gc:remove images and generations that nobody needs any more
doctor:say what this host offers, what is missing and how to get it' ;;
    init)
        _tykky_words='--name:The environment'\''s name. [default: made from the directory'\''s]
--python:Python'\''s minor version, such as 3.12; with --pypi also the path of an interpreter
--extends:Add to another environment: its directory, or its name
--conda:Take packages from conda channels, Python too
--pypi:Take packages from PyPI, with a Python of this host. [default]
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=' --name= --python= --extends=name'
        _tykky_kinds='directory'
        ;;
    add)
        _tykky_words='--conda:Add to [conda.dependencies]
--pypi:Add to the dependencies of [pypi]
-f:The spec; its tykky.lock stands beside it
--spec:The spec; its tykky.lock stands beside it
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=' -f=file --spec=file'
        _tykky_kinds='+'
        ;;
    remove)
        _tykky_words='--conda:Look only in [conda.dependencies]
--pypi:Look only in the dependencies of [pypi]
-f:The spec; its tykky.lock stands beside it
--spec:The spec; its tykky.lock stands beside it
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=' -f=file --spec=file'
        _tykky_kinds='required+'
        ;;
    lock)
        _tykky_words='--check:Only say whether tykky.lock still answers the spec (exit code 5 if not)
--upgrade:Let all locked versions move, or those of NAME…
-U:Let all locked versions move, or those of NAME…
--platform:Resolve only this platform again
--rebase:Take the extended environment as it is now
--offline:Use only what is cached
-f:The spec; its tykky.lock stands beside it
--spec:The spec; its tykky.lock stands beside it
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=' --platform= -f=file --spec=file'
        _tykky_kinds='locked+'
        ;;
    build)
        _tykky_words='--prefix:The environment directory. [default: ./NAME]
-p:The environment directory. [default: ./NAME]
--dry-run:Show the plan and write nothing
-n:Show the plan and write nothing
--delta:Append a layer, whatever it costs
--rebuild:Build the layers of a fresh build instead of appending one
--flatten:Make one layer of the result
--exec:Run a command inside, and record it
--offline:Use only what is cached
--no-check:Build the lock even if it does not answer the spec any more
--no-wait:Fail if another build of this environment directory is running
--keep:Keep the staging directory of a build that fails
-f:The spec; its tykky.lock stands beside it
--spec:The spec; its tykky.lock stands beside it
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=' --prefix=directory -p=directory --exec= -f=file --spec=file'
        _tykky_kinds=''
        ;;
    run)
        _tykky_words='--with:Show another environment too, its programs behind those of DIRECTORY; may be repeated
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=' --with=environment'
        _tykky_kinds='environment program+'
        ;;
    shell)
        _tykky_words='-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='environment'
        ;;
    info)
        _tykky_words='--packages:List the packages too
--spec:Print the tykky.toml that the current generation was built from, only that
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='environment'
        ;;
    list)
        _tykky_words='-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='directory+'
        ;;
    activate)
        _tykky_words='-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='name'
        ;;
    deactivate)
        _tykky_words='-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds=''
        ;;
    shell-init)
        _tykky_words='-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='bash|zsh|ksh|sh|fish'
        ;;
    module)
        _tykky_words='--format:Lmod'\''s own, or Tcl for Environment Modules
-o:A file; or a directory of MODULEPATH, in which it becomes NAME or NAME/VERSION. [default: standard output]
--output:A file; or a directory of MODULEPATH, in which it becomes NAME or NAME/VERSION. [default: standard output]
--name:The module'\''s name. [default: the environment'\''s]
--version:The module'\''s version. [default: none]
--whatis:One line for '\''module whatis'\'' and '\''module spider'\''
--conflict:Another module that must not be loaded beside it; can be given again
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=' --format=lmod|tcl -o=file --output=file --name= --version= --whatis= --conflict='
        _tykky_kinds='environment'
        ;;
    tree)
        _tykky_words='-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='environment'
        ;;
    diff)
        _tykky_words='--files:Compare the files too: what is at the prefix, not which layer it is in
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='environment generation generation'
        ;;
    history)
        _tykky_words='-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='environment'
        ;;
    rollback)
        _tykky_words='--no-wait:Fail if another process changes this environment directory now
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='environment generation'
        ;;
    vendor)
        _tykky_words='--no-wait:Fail if another process changes this environment directory now
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='environment'
        ;;
    flatten)
        _tykky_words='--no-wait:Fail if another process changes this environment directory now
--keep:Keep the staging directory if this fails
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='environment'
        ;;
    verify)
        _tykky_words='--full:Compare sha256 digests too, and walk what each image holds
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='environment generation'
        ;;
    gc)
        _tykky_words='--older-than:Remove generations older than this too: 12h, 30d, 4w
--dry-run:Show what would go and remove nothing
-n:Show what would go and remove nothing
--no-wait:Fail if another process changes this environment directory now
-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=' --older-than='
        _tykky_kinds='environment'
        ;;
    doctor)
        _tykky_words='-q:Say only what was asked for, and errors
--quiet:Say only what was asked for, and errors
-v:Say more; show a traceback for errors
--verbose:Say more; show a traceback for errors
--json:Print the result (or the error) as JSON
-h:Show this message and exit
--help:Show this message and exit'
        _tykky_valued=''
        _tykky_kinds='directory'
        ;;
    esac
}
