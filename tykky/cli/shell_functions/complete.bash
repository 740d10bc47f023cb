# Completion in bash. Where there is none (a bash without readline), nothing is registered.
_tykky_complete() {
    local IFS=$' \t\n' _tykky_words _tykky_valued _tykky_kinds _tykky_verb _tykky_kind _tykky_first _tykky_spec _tykky_dash
    local _tykky_argument _tykky_section _tykky_line _tykky_rest _tykky_quote
    local cur=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    [[ $cur != '=' ]] || cur=
    _tykky_position "${COMP_WORDS[@]:1:COMP_CWORD-1}"
    if [[ -z $_tykky_kind && $cur == -* && -z $_tykky_dash ]]; then
        _tykky_table "$_tykky_verb"
        [[ -n $_tykky_verb ]] || _tykky_words=$'--version:\n--help:'
        _tykky_offer_words
    elif [[ -z $_tykky_verb ]]; then
        _tykky_table ''
        _tykky_offer_words
    else
        _tykky_offer "${_tykky_kind:-$_tykky_argument}"
    fi
}

# The words before the cursor -> _tykky_verb; _tykky_kind of the value that an option wants here; else _tykky_argument,
# the kind of argument that is due; _tykky_first argument, and the _tykky_spec that was given.
_tykky_position() {
    local word option='' count=0 kinds
    _tykky_verb= _tykky_kind= _tykky_first= _tykky_spec= _tykky_dash= _tykky_argument= _tykky_kinds= _tykky_valued=
    for word; do
        if [[ $word == '=' ]]; then
            continue
        elif [[ -n $_tykky_kind ]]; then
            [[ $option != @(-f|--spec) ]] || _tykky_bare "$word" _tykky_spec
            _tykky_kind=
        elif [[ $word == -- ]]; then
            _tykky_dash=yes
        elif [[ $word == -* && -z $_tykky_dash ]]; then
            case " $_tykky_valued " in
            *" $word="*)
                option=$word
                _tykky_kind=${_tykky_valued#*" $word="}
                _tykky_kind=${_tykky_kind%% *}
                _tykky_kind=${_tykky_kind:-none}
                ;;
            esac
        elif [[ -z $_tykky_verb ]]; then
            _tykky_verb=$word
            _tykky_table "$word"
        else
            ((count += 1))
            ((count > 1)) || _tykky_bare "$word" _tykky_first
            # What comes after `tykky run DIRECTORY` is the program's.
            [[ $_tykky_kinds != *program* ]] || _tykky_dash=yes
        fi
    done
    read -r -a kinds <<<"$_tykky_kinds"
    if ((count < ${#kinds[@]})); then
        _tykky_argument=${kinds[count]%+}
    elif ((${#kinds[@]})) && [[ ${kinds[-1]} == *+ ]]; then
        _tykky_argument=${kinds[-1]%+}
    fi
}

_tykky_offer() {
    local x
    case $1 in
    environment | directory) compopt -o dirnames ;;
    file) compopt -o default ;;
    name)
        case $cur in
        */*) compopt -o dirnames ;;
        *)
            _tykky_names
            _tykky_offer_words
            ;;
        esac
        ;;
    required)
        _tykky_spec_names "$_tykky_spec"
        _tykky_offer_words
        ;;
    locked)
        _tykky_lock_names "${_tykky_spec:+${_tykky_spec%tykky.toml}tykky.lock}"
        _tykky_offer_words
        ;;
    generation)
        _tykky_children "$_tykky_first/.tykky/generations"
        _tykky_offer_words
        ;;
    program)
        _tykky_children "$_tykky_first/bin"
        _tykky_offer_words
        compopt -o default
        ;;
    *'|'*)
        _tykky_words=${1//|/$'\n'}
        _tykky_offer_words
        ;;
    esac
}

# What of _tykky_words begins with the word at the cursor, quoted as the word is.
_tykky_offer_words() {
    local bare word
    _tykky_bare "$cur" bare
    while IFS= read -r word; do
        word=${word%%:*}
        [[ -n $word && $word == "$bare"* ]] || continue
        [[ $cur == [\"\']* ]] || printf -v word %q "$word"
        COMPREPLY+=("$word")
    done <<<"$_tykky_words"
}

# $1, a word as it is typed -> the variable $2, without its quotes; a ~ is the home.
_tykky_bare() {
    local _text=$1
    case $_text in
    \'*) _text=${_text#\'} _text=${_text%\'} ;;
    \"*) _text=${_text#\"} _text=${_text%\"} ;;
    *)
        [[ $_text != '~/'* ]] || _text=$HOME/${_text#'~/'}
        _text=${_text//\\/}
        ;;
    esac
    printf -v "$2" %s "$_text"
}

_tykky_names() {
    local rest=${TYKKY_PATH-}: place path
    _tykky_words=
    while [[ -n $rest ]]; do
        place=${rest%%:*} rest=${rest#*:}
        [[ -z $place ]] || _tykky_children "$place" /bin
    done
    _tykky_words+=$_tykky_nl$_tykky_sites$_tykky_nl
    _tykky_children . /.tykky
}

# The names in the directory $1 (of those that hold $2) are added to _tykky_words.
_tykky_children() {
    local path
    [[ -n ${2-} ]] || _tykky_words=
    for path in "$1"/*; do
        [[ ! -e $path${2-} ]] || _tykky_words+=$_tykky_nl${path##*/}
    done
}

if type complete >/dev/null 2>&1; then complete -F _tykky_complete tykky; fi
