#!/usr/bin/env bash
# What action.yml runs: inputs in KITREF_* variables, a job summary in Markdown, the worst exit code.
set -uo pipefail

summary=${GITHUB_STEP_SUMMARY:-/dev/stdout}
outputs=${GITHUB_OUTPUT:-/dev/null}
output=${KITREF_OUTPUT:-kitref-report}
worst=0

# Exit codes by weight, as kitref has them: 2, 4, 3, 1, 0.
weigh() {
  local order=" 2 4 3 1 0 "
  [[ ${order%% "$1" *} == "${order%% "$worst" *}"* ]] || worst=$1
}

report() { # title, exit code, text
  {
    printf '### %s: exit code %s\n\n' "$1" "$2"
    # A longer fence than any in the text.
    printf '~~~~~~~~~~text\n%s\n~~~~~~~~~~\n\n' "$3"
  } >> "$summary"
}

if [[ -z ${KITREF_CONFORM:-} && -z ${KITREF_DIAGNOSE:-} ]]; then
  echo "kitref: give the input conform or diagnose" >&2
  exit 2
fi
if [[ -n ${KITREF_CONFORM:-} ]]; then
  options=(--profile "${KITREF_PROFILE:-docker}" --output "$output/conform")
  [[ -z ${KITREF_KNOWN:-} ]] || options+=(--known "$KITREF_KNOWN")
  read -r -a command <<< "$KITREF_CONFORM"
  said=$("$KITREF" conform "${options[@]}" -- "${command[@]}")
  code=$?
  weigh "$code"
  report "kitref conform" "$code" "$said"
fi
if [[ -n ${KITREF_DIAGNOSE:-} ]]; then
  options=(--docker --offline)
  [[ -z ${KITREF_LINUXKIT:-} ]] || options+=(--linuxkit "$KITREF_LINUXKIT")
  read -r -a files <<< "$KITREF_DIAGNOSE"
  said=$("$KITREF" diagnose "${options[@]}" "${files[@]}")
  code=$?
  weigh "$code"
  report "kitref diagnose" "$code" "$said"
  mkdir -p "$output"
  "$KITREF" diagnose "${options[@]}" --sarif "${files[@]}" > "$output/kitref.sarif"
  echo "sarif=$output/kitref.sarif" >> "$outputs"
fi
exit "$worst"
