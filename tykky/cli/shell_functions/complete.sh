# What completion in bash and zsh shares. Candidates are read from files with the shell's own means: no program starts.

# $1, -f's value or nothing -> _tykky_words: the names of what the spec requires, one a line.
_tykky_spec_names() {
    _tykky_words=
    _tykky_section=
    [ -r "${1:-tykky.toml}" ] || return 0
    while \read -r _tykky_line || [ -n "$_tykky_line" ]; do
        case $_tykky_section:$_tykky_line in
        list:*) ;;
        *:'['*']'*) _tykky_section=${_tykky_line%%]*} ;;
        *:dependencies*=*'['*)
            _tykky_section=list
            _tykky_line=${_tykky_line#*=}
            ;;
        '['*dependencies:[\"A-Za-z0-9_]*=*)
            _tykky_line=${_tykky_line#\"}
            _tykky_word "$_tykky_line"
            ;;
        esac
        [ "$_tykky_section" != list ] || _tykky_strings "$_tykky_line"
    done <"${1:-tykky.toml}"
}

# The strings in one line of an array; its end ends the array.
_tykky_strings() {
    _tykky_rest=$1
    while :; do
        case $_tykky_rest in
        *[]\"\'#]*) ;;
        *) return 0 ;;
        esac
        _tykky_rest=${_tykky_rest#"${_tykky_rest%%[]\"\'#]*}"}
        _tykky_quote=${_tykky_rest%"${_tykky_rest#?}"}
        _tykky_rest=${_tykky_rest#?}
        case $_tykky_quote in
        '#') return 0 ;;
        ']')
            _tykky_section=
            return 0
            ;;
        esac
        _tykky_word "${_tykky_rest%%"$_tykky_quote"*}"
        _tykky_rest=${_tykky_rest#*"$_tykky_quote"}
    done
}

# A requirement -> its name; a path is its own.
_tykky_word() {
    case $1 in
    ./* | ../* | /*) _tykky_words=$_tykky_words${1%% *}$_tykky_nl ;;
    [A-Za-z0-9]*) _tykky_words=$_tykky_words${1%%[!A-Za-z0-9._-]*}$_tykky_nl ;;
    esac
}

# $1, the lock's path or nothing -> _tykky_words: the names of locked packages, one a line.
_tykky_lock_names() {
    _tykky_words=
    _tykky_section=
    [ -r "${1:-tykky.lock}" ] || return 0
    while \read -r _tykky_line; do
        case $_tykky_section$_tykky_line in
        *'[[package]]') _tykky_section=package: ;;
        *'[['*) _tykky_section= ;;
        'package:name = "'*)
            _tykky_line=${_tykky_line#*\"}
            _tykky_words=$_tykky_words${_tykky_line%%\"*}$_tykky_nl
            _tykky_section=
            ;;
        esac
    done <"${1:-tykky.lock}"
}

_tykky_nl='
'
