# Completion in zsh. It is registered as soon as compinit has run, be that before this text or after.
_tykky_complete() {
    local -a kinds candidates
    local _tykky_words _tykky_valued _tykky_kinds _tykky_verb _tykky_kind _tykky_first _tykky_spec _tykky_dash
    local _tykky_argument _tykky_section _tykky_line _tykky_rest _tykky_quote
    _tykky_position "${(@)words[2,CURRENT-1]}"
    if [[ -z $_tykky_kind && $PREFIX == -* && -z $_tykky_dash ]]; then
        _tykky_table "$_tykky_verb"
        [[ -n $_tykky_verb ]] || _tykky_words=$'--version:say which tykky this is\n--help:say what there is'
        if [[ $PREFIX == *=* && " $_tykky_valued " == *" ${PREFIX%%=*}="* ]]; then
            _tykky_kind=${${_tykky_valued#*" ${PREFIX%%=*}="}%% *}
            compset -P 1 '*='
            _tykky_offer "${_tykky_kind:-none}"
            return
        fi
        _tykky_describe option
    elif [[ -z $_tykky_verb ]]; then
        _tykky_table ''
        _tykky_describe verb
    else
        _tykky_offer "${_tykky_kind:-$_tykky_argument}"
    fi
}

# As in bash; see there.
_tykky_position() {
    local word option='' count=0
    for word; do
        if [[ -n $_tykky_kind ]]; then
            [[ $option != (-f|--spec) ]] || _tykky_spec=${(Q)word}
            _tykky_kind=
        elif [[ $word == -- ]]; then
            _tykky_dash=yes
        elif [[ $word == -* && -z $_tykky_dash ]]; then
            if [[ " $_tykky_valued " == *" $word="* ]]; then
                option=$word
                _tykky_kind=${${_tykky_valued#*" $word="}%% *}
                : ${_tykky_kind:=none}
            fi
        elif [[ -z $_tykky_verb ]]; then
            _tykky_verb=$word
            _tykky_table "$word"
        else
            (( count += 1 ))
            (( count > 1 )) || _tykky_first=${${(Q)word}/#\~\//$HOME/}
            [[ $_tykky_kinds != *program* ]] || _tykky_dash=yes
        fi
    done
    kinds=(${=_tykky_kinds})
    if (( count < $#kinds )); then
        _tykky_argument=${kinds[count+1]%+}
    elif [[ $#kinds -gt 0 && $kinds[-1] == *+ ]]; then
        _tykky_argument=${kinds[-1]%+}
    fi
}

_tykky_offer() {
    local place
    case $1 in
    environment | directory) _files -/ ;;
    file) _files ;;
    name)
        if [[ $PREFIX == */* ]]; then
            _files -/
            return
        fi
        for place in ${(s.:.)TYKKY_PATH}; do
            candidates+=("$place"/*/bin(N:h:t))
        done
        candidates+=("${(@f)_tykky_sites}" */.tykky(N:h:t))
        compadd -- ${(u)candidates:#}
        ;;
    required)
        _tykky_spec_names "$_tykky_spec"
        compadd -- ${(f)_tykky_words}
        ;;
    locked)
        _tykky_lock_names "${_tykky_spec:+${_tykky_spec%tykky.toml}tykky.lock}"
        compadd -- ${(u)${(f)_tykky_words}}
        ;;
    generation) compadd -- "$_tykky_first"/.tykky/generations/*(N:t) ;;
    program)
        compadd -- "$_tykky_first"/bin/*(N:t)
        _files
        ;;
    *'|'*) compadd -- ${(s.|.)1} ;;
    esac
}

_tykky_describe() {
    candidates=(${(f)_tykky_words})
    _describe "$1" candidates
}

_tykky_register() {
    (( $+functions[compdef] )) || return 0
    precmd_functions=(${precmd_functions:#_tykky_register})
    compdef _tykky_complete tykky
}

if [[ -o interactive ]]; then
    if (( $+functions[compdef] )); then compdef _tykky_complete tykky; else precmd_functions+=(_tykky_register); fi
fi
