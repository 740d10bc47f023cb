# tykky's functions for fish; activate.sh says which variables there are, and means the same.
function tykky --description 'locked Python environments in a few squashfs images'
    set -l words $argv
    if contains -- "$words[1]" activate deactivate; and not contains -- "$words[2]" -h --help
        set -e words[1]
        _tykky_$argv[1] $words
    else
        command $_tykky_at $argv
    end
end

function _tykky_error
    printf 'error: %s\n\nhint: %s\n' $argv[1] $argv[2] >&2
    return $argv[3]
end

function _tykky_activate
    test "$argv[1]" = --; and set -e argv[1]
    if test (count $argv) -ne 1; or test -z "$argv[1]"
        _tykky_error 'tykky activate takes one NAME or DIRECTORY' "'tykky list' shows what there is" 2
        return
    end
    set -l prefix (_tykky_find $argv[1] | string collect)
    or return $pipestatus[1]
    if string match -qr '[:[:cntrl:]]' -- $prefix
        _tykky_error "$prefix cannot stand in PATH: it holds a colon or a control character" 'move the environment' 11
        return
    end
    test -z "$_TYKKY_ACTIVE"; or _tykky_leave
    set -q TYKKY_PREFIX; and set -gx _TYKKY_BEFORE $TYKKY_PREFIX
    set -gx TYKKY_PREFIX $prefix
    set -gx _TYKKY_ACTIVE $prefix
    set -l name $argv[1]
    string match -qr '/|^\.\.?$' -- $name; and set name (string replace -r '.*/' '' -- $prefix)
    # As in other shells, where these would be expanded: a shell started from here shows it too.
    set -gx _TYKKY_PROMPT '('(string replace -ar '[$`\\\\%!\'"[:cntrl:]]' '?' -- $name)') '
    set -gx PATH $prefix/bin $PATH
    _tykky_show
end

function _tykky_deactivate
    if test (count $argv) -ne 0
        _tykky_error 'tykky deactivate takes no words' "it leaves the environment that 'tykky activate' put in front of PATH" 2
    else if test -n "$_TYKKY_ACTIVE"
        _tykky_leave
    else if test -n "$TYKKY_PREFIX"
        _tykky_error "$TYKKY_PREFIX was not activated by 'tykky activate'" "if a module did, 'module unload' it" 1
    else
        _tykky_error 'no environment is active in this shell' "'tykky activate NAME' activates one" 1
    end
end

function _tykky_leave
    set -l index (contains -i -- $_TYKKY_ACTIVE/bin $PATH)
    and set -e PATH[$index]
    if test "$TYKKY_PREFIX" = "$_TYKKY_ACTIVE"
        if set -q _TYKKY_BEFORE
            set -gx TYKKY_PREFIX $_TYKKY_BEFORE
        else
            set -e TYKKY_PREFIX
        end
    end
    set -e _TYKKY_ACTIVE
    set -e _TYKKY_BEFORE
    set -e _TYKKY_PROMPT
    # Only our own prompt goes; one that was defined meanwhile stays.
    if functions -q _tykky_old_prompt
        if functions fish_prompt | string match -q '*_tykky_old_prompt*'
            functions -e fish_prompt
            functions -c _tykky_old_prompt fish_prompt
        end
        functions -e _tykky_old_prompt
    end
    true
end

function _tykky_show
    if status is-interactive; and test "$TYKKY_CHANGE_PS1" != 0; and functions -q fish_prompt
        and not functions -q _tykky_old_prompt
        functions -c fish_prompt _tykky_old_prompt
        function fish_prompt
            set -l before $status
            printf %s $_TYKKY_PROMPT
            _tykky_status $before
            _tykky_old_prompt
        end
    end
    true
end

function _tykky_status
    return $argv[1]
end

# NAME or DIRECTORY -> prints the absolute path.
function _tykky_find
    if string match -qr '/|^\.\.?$' -- $argv[1]
        set -l path (_tykky_absolute $argv[1])
        if _tykky_is_one $path
            printf %s $path
        else if not test -d $argv[1]
            _tykky_error "$argv[1]: no such directory" "'tykky list' shows what there is" 11
        else
            _tykky_error "$argv[1] is no environment directory" "name the directory that 'tykky build' published" 11
        end
        return
    end
    for place in (string split -n : -- $TYKKY_PATH)
        if _tykky_is_one $place/$argv[1]
            _tykky_absolute $place/$argv[1]
            return
        end
    end
    set -l path (_tykky_site $argv[1])
    if test -n "$path"
        if not _tykky_is_one $path
            _tykky_error "the site's environment $argv[1] is not at $path" 'tell whoever keeps site.toml' 11
            return
        end
        printf %s $path
    else if _tykky_is_one ./$argv[1]
        _tykky_absolute ./$argv[1]
    else
        _tykky_error "no environment $argv[1] in TYKKY_PATH, among the site's, or here" "'tykky list' shows what there is" 11
    end
end

function _tykky_is_one
    test -d "$argv[1]/bin"; and begin
        test -L "$argv[1]/.tykky/current"; or test -f "$argv[1]/common.sh"; or test "$argv[1]" = "$TYKKY_ENVIRONMENT"
    end
end

# Absolute, without . and .. and empty parts; links in it stay.
function _tykky_absolute
    set -l parts
    set -l path $argv[1]
    string match -q '/*' -- $path; or set path $PWD/$path
    for part in (string split / -- $path)
        switch $part
            case '' .
            case ..
                set -e parts[-1]
            case '*'
                set -a parts $part
        end
    end
    printf /%s (string join / -- $parts)
end

if test -n "$_TYKKY_ACTIVE"; and test -n "$_TYKKY_PROMPT"
    _tykky_show
end
