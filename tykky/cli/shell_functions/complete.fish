
# Of the words that are complete: the verb and its arguments, without options and their values.
function _tykky_given
    set -l words (commandline -opc)
    set -e words[1]
    set -l valued
    set -l value no
    set -l verb
    for word in $words
        if test $value = yes
            set value no
        else if string match -q -- '-*' $word
            contains -- $word $valued; and set value yes
        else
            test -z "$verb"; and set verb $word; and set valued (_tykky_valued $word)
            string join \n -- $word
        end
    end
end

function _tykky_no_verb
    test (count (_tykky_given)) -eq 0
end

# Whether this is the verb, and its own options may follow: after `tykky run DIRECTORY` come the program's.
function _tykky_verb_is
    set -l given (_tykky_given)
    test "$given[1]" = $argv[1]; or return
    not contains program+ (_tykky_kinds $given[1]); or test (count $given) -eq 1
end

function _tykky_argument
    set -l given (_tykky_given)
    set -l kinds (_tykky_kinds $given[1])
    set -l count (count $kinds)
    test $count -gt 0; or return 0
    set -l due (count $given)
    if test $due -gt $count
        string match -q '*+' -- $kinds[-1]; or return 0
        set due $count
    end
    _tykky_candidates (string trim -r -c + -- $kinds[$due]) $given[2]
end

# $argv[1], a kind; $argv[2], the first argument.
function _tykky_candidates
    switch $argv[1]
        case environment directory
            __fish_complete_directories (commandline -ct) ''
        case file
            __fish_complete_path (commandline -ct)
        case name
            if string match -q '*/*' -- (commandline -ct)
                __fish_complete_directories (commandline -ct) ''
            else
                for path in (string split -n : -- $TYKKY_PATH)/*/bin ./*/.tykky
                    string split / -- $path | tail -n 2 | head -n 1
                end
                string join \n -- $_tykky_sites
            end
        case required
            _tykky_spec_names
        case locked
            _tykky_lock_names
        case generation
            for path in $argv[2]/.tykky/generations/*
                string replace -r '.*/' '' -- $path
            end
        case program
            for path in $argv[2]/bin/*
                string replace -r '.*/' '' -- $path
            end
        case '*|*'
            string split '|' -- $argv[1]
    end
end

function _tykky_lock_names
    test -r tykky.lock; or return 0
    set -l section
    while read -l line
        if string match -q '[[*' -- $line
            set section $line
        else if test "$section" = '[[package]]'
            string replace -rf '^name = "([^"]*)".*' '$1' -- $line
        end
    end <tykky.lock
end

# The names of what the spec here requires.
function _tykky_spec_names
    test -r tykky.toml; or return 0
    set -l section
    while read -l line
        if test "$section" != list
            if string match -qr '^\s*\[' -- $line
                set section $line
            else if string match -qr '^\s*dependencies\s*=\s*\[' -- $line
                set section list
                set line (string replace -r '^[^=]*=\s*\[' '' -- $line)
            else if string match -q '*dependencies]*' -- $section
                string replace -rf '^\s*"?([A-Za-z0-9][A-Za-z0-9._-]*)"?\s*=.*' '$1' -- $line
            end
        end
        if test "$section" = list
            # What stands before a comment; then the strings in it; then what is not in strings.
            set line (string replace -r '^((?:[^#"\']|"[^"]*"|\'[^\']*\')*)#.*$' '$1' -- $line)
            string match -arg '["\'](\.{0,2}/[^"\' ]*|[A-Za-z0-9][A-Za-z0-9._-]*)[^"\']*["\']' -- $line
            string replace -ar '"[^"]*"|\'[^\']*\'' '' -- $line | string match -q '*]*'; and set section
        end
    end <tykky.toml
end

complete -c tykky -n _tykky_no_verb -f -l version -d 'Say which tykky this is'
complete -c tykky -n _tykky_no_verb -f -s h -l help -d 'Say what there is'
complete -c tykky -n 'not _tykky_no_verb' -f -a '(_tykky_argument)'
