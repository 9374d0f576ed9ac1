# Sourced by the run scripts: `run COMMAND ...` runs a command, or only prints it where DRY_RUN is set.
run() {
    if [[ -n ${DRY_RUN:-} ]]; then
        printf '%q ' "$@"
        echo
    else
        "$@"
    fi
}
