# tykky's functions for sh, dash, ksh, bash and zsh: `tykky activate` and `tykky deactivate` change this shell, any other
# verb is the program's. Nothing here starts a process, splits words or depends on options (set -e, -u, -f, -C, IFS).
#
# Exported, so that a shell started from this one can deactivate:
#   TYKKY_PREFIX     the environment directory, as a module file sets it
#   _TYKKY_ACTIVE    the same, if it was activated; _TYKKY_BEFORE is what TYKKY_PREFIX was before, if it was set
#   _TYKKY_PROMPT    what the name of the environment makes of the prompt
\unalias tykky 2>/dev/null || :
if \command -v __tykky_activate >/dev/null 2>&1; then
    case $- in
    *i*)
        \printf '%s\n' "tykky: the shell function 'tykky' of hpc-container-wrapper is replaced in this shell" \
            'tykky: to be rid of it for good, leave out its module, or its line in the files that your shell reads' >&2
        ;;
    esac
fi
# An exported function of this name (bash) would go on to shells that know nothing of the others.
\unset -f tykky 2>/dev/null || :
# zsh reads all of this before it does the first line of it, and would put an alias of that name in place of the name.
\eval 'tykky() { _tykky "$@"; }'

_tykky() {
    case ${1-} in
    activate) \set -- _tykky_activate "$@" ;;
    deactivate) \set -- _tykky_deactivate "$@" ;;
    *) \set -- '' "$@" ;;
    esac
    case $1:${3-} in
    :* | *:-h | *:--help)
        \shift
        \command "$_tykky_at" "$@"
        return
        ;;
    esac
    _tykky_status=0
    "$@" || _tykky_status=$?
    \set -- "$_tykky_status"
    \unset _tykky_status _tykky_p _tykky_x _tykky_rest _tykky_name
    return "$1"
}

_tykky_error() {
    \printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
    return "${3:-2}"
}

_tykky_activate() {
    [ -z "${ZSH_VERSION-}" ] || \emulate -L sh
    \shift
    [ "${1-}" != -- ] || \shift
    if [ "$#" -ne 1 ] || [ -z "$1" ]; then
        _tykky_error 'tykky activate takes one NAME or DIRECTORY' "'tykky list' shows what there is"
        return
    fi
    _tykky_find "$1" || return
    case $_tykky_p in
    *:* | *[[:cntrl:]]*)
        _tykky_error "$_tykky_p cannot stand in PATH: it holds a colon or a control character" 'move the environment' 11
        return
        ;;
    esac
    [ -z "${_TYKKY_ACTIVE-}" ] || _tykky_leave
    if [ "${TYKKY_PREFIX+set}" = set ]; then
        _TYKKY_BEFORE=$TYKKY_PREFIX
        \export _TYKKY_BEFORE
    fi
    _TYKKY_ACTIVE=$_tykky_p
    TYKKY_PREFIX=$_tykky_p
    PATH=$_tykky_p/bin:${PATH:-/usr/bin:/bin}
    _tykky_plain "$_tykky_name"
    _TYKKY_PROMPT="($_tykky_x) "
    \export PATH TYKKY_PREFIX _TYKKY_ACTIVE _TYKKY_PROMPT
    _tykky_show
}

_tykky_deactivate() {
    [ -z "${ZSH_VERSION-}" ] || \emulate -L sh
    if [ "$#" -ne 1 ]; then
        _tykky_error 'tykky deactivate takes no words' "it leaves the environment that 'tykky activate' put in front of PATH"
    elif [ -n "${_TYKKY_ACTIVE-}" ]; then
        _tykky_leave
    elif [ -n "${TYKKY_PREFIX-}" ]; then
        _tykky_error "$TYKKY_PREFIX was not activated by 'tykky activate'" "if a module did, 'module unload' it" 1
    else
        _tykky_error 'no environment is active in this shell' "'tykky activate NAME' activates one" 1
    fi
}

# Undoes what activation did, and nothing else: what was put into PATH or the prompt meanwhile stays.
_tykky_leave() {
    case ":${PATH-}:" in
    *":$_TYKKY_ACTIVE/bin:"*)
        _tykky_rest=":$PATH:"
        _tykky_x=${_tykky_rest%%":$_TYKKY_ACTIVE/bin:"*}:${_tykky_rest#*":$_TYKKY_ACTIVE/bin:"}
        _tykky_x=${_tykky_x#:}
        PATH=${_tykky_x%:}
        ;;
    esac
    if [ "${TYKKY_PREFIX-}" = "$_TYKKY_ACTIVE" ]; then
        if [ "${_TYKKY_BEFORE+set}" = set ]; then
            TYKKY_PREFIX=$_TYKKY_BEFORE
        else
            \unset TYKKY_PREFIX
        fi
    fi
    if [ -n "${_TYKKY_PROMPT-}" ]; then
        case ${PS1-} in
        "$_TYKKY_PROMPT"*) PS1=${PS1#"$_TYKKY_PROMPT"} ;;
        esac
    fi
    \unset _TYKKY_ACTIVE _TYKKY_BEFORE _TYKKY_PROMPT
}

_tykky_show() {
    if [ "${TYKKY_CHANGE_PS1-}" != 0 ] && [ "${PS1+set}" = set ]; then
        case $PS1 in
        "$_TYKKY_PROMPT"*) ;;
        *) PS1=$_TYKKY_PROMPT$PS1 ;;
        esac
    fi
}

# $1, NAME or DIRECTORY -> _tykky_p, an absolute path, and _tykky_name.
_tykky_find() {
    case $1 in
    */* | . | ..)
        _tykky_absolute "$1"
        _tykky_name=${_tykky_p##*/}
        _tykky_is_one "$_tykky_p" && return
        if [ ! -d "$1" ]; then
            _tykky_error "$1: no such directory" "'tykky list' shows what there is" 11
        else
            _tykky_error "$1 is no environment directory" "name the directory that 'tykky build' published" 11
        fi
        return
        ;;
    esac
    _tykky_name=$1
    _tykky_rest=${TYKKY_PATH-}:
    while [ -n "$_tykky_rest" ]; do
        _tykky_x=${_tykky_rest%%:*}
        _tykky_rest=${_tykky_rest#*:}
        if [ -n "$_tykky_x" ] && _tykky_is_one "$_tykky_x/$1"; then
            _tykky_absolute "$_tykky_x/$1"
            return
        fi
    done
    _tykky_p=
    _tykky_site "$1"
    if [ -n "$_tykky_p" ]; then
        _tykky_is_one "$_tykky_p" && return
        _tykky_error "the site's environment $1 is not at $_tykky_p" 'tell whoever keeps site.toml' 11
        return
    fi
    _tykky_absolute "$1"
    _tykky_is_one "$_tykky_p" && return
    _tykky_error "no environment $1 in TYKKY_PATH, among the site's, or here" "'tykky list' shows what there is" 11
}

# Environments of hpc-container-wrapper have a common.sh; they are activated the same way. Inside an environment, its own
# directory shows what is in it.
_tykky_is_one() {
    [ -d "$1/bin" ] && { [ -h "$1/.tykky/current" ] || [ -f "$1/common.sh" ] || [ "$1" = "${TYKKY_ENVIRONMENT-}" ]; }
}

# $1 -> _tykky_p: absolute, without . and .. and empty parts; links in it stay.
_tykky_absolute() {
    case $1 in
    /*) _tykky_rest=$1/ ;;
    *) _tykky_rest=$PWD/$1/ ;;
    esac
    _tykky_p=
    while [ -n "$_tykky_rest" ]; do
        _tykky_x=${_tykky_rest%%/*}
        _tykky_rest=${_tykky_rest#*/}
        case $_tykky_x in
        '' | .) ;;
        ..) _tykky_p=${_tykky_p%/*} ;;
        *) _tykky_p=$_tykky_p/$_tykky_x ;;
        esac
    done
}

# $1 -> _tykky_x: without what a prompt expands, runs, or moves the cursor by.
_tykky_plain() {
    _tykky_rest=$1
    _tykky_x=
    while :; do
        case $_tykky_rest in
        *[\$\`\\%!\'\"[:cntrl:]]*) ;;
        *) break ;;
        esac
        _tykky_p=${_tykky_rest%%[\$\`\\%!\'\"[:cntrl:]]*}
        _tykky_rest=${_tykky_rest#"$_tykky_p"?}
        _tykky_x=$_tykky_x$_tykky_p?
    done
    _tykky_x=$_tykky_x$_tykky_rest
}

if [ -n "${_TYKKY_ACTIVE-}" ] && [ -n "${_TYKKY_PROMPT-}" ]; then _tykky_show; fi
