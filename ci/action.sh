#!/usr/bin/env bash
# What action.yml runs: inputs in KITREF_* variables, a job summary in Markdown, the worst exit code.
set -uo pipefail

summary=${GITHUB_STEP_SUMMARY:-/dev/stdout}
outputs=${GITHUB_OUTPUT:-/dev/null}
output=${KITREF_OUTPUT:-kitref-report}
worst=0

# Exit codes by weight, as kitref has them: 2, 4, 3, 1, 0.
weigh() {
  local order=" 2 4 3 1 0 " code=$1
  [[ $order == *" $code "* ]] || code=4 # killed, or not to be started: no better than a crash
  [[ ${order%% "$code" *} == "${order%% "$worst" *}"* ]] || worst=$code
}

split() { # an input's name and its text: the text's words go into the array `words`
  local lines
  if ! lines=$(xargs printf '%s\n' <<< "$2"); then
    echo "kitref: the input $1 has a quote that is not closed" >&2
    exit 2
  fi
  mapfile -t words <<< "$lines"
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
  split conform "$KITREF_CONFORM"
  said=$("$KITREF" conform "${options[@]}" -- "${words[@]}")
  code=$?
  weigh "$code"
  report "kitref conform" "$code" "$said"
fi
if [[ -n ${KITREF_DIAGNOSE:-} ]]; then
  options=(--docker --offline)
  [[ -z ${KITREF_LINUXKIT:-} ]] || options+=(--linuxkit "$KITREF_LINUXKIT")
  split diagnose "$KITREF_DIAGNOSE"
  said=$("$KITREF" diagnose "${options[@]}" "${words[@]}")
  code=$?
  weigh "$code"
  report "kitref diagnose" "$code" "$said"
  mkdir -p "$output"
  "$KITREF" diagnose "${options[@]}" --sarif "${words[@]}" > "$output/kitref.sarif"
  weigh $?
  echo "sarif=$output/kitref.sarif" >> "$outputs"
fi
exit "$worst"
