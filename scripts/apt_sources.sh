# SPDX-License-Identifier: Apache-2.0
# Reads apt's configuration; source it. Needs awk and nothing else: Python may not be there yet.
# shellcheck shell=bash

# Every "URI<tab>signed-by" from which this machine takes suite $1, in both formats of apt's
# configuration.
sources_of_suite() {
  local suite=$1 file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [[ -r $file ]] && one_line_sources "$suite" <"$file"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    [[ -r $file ]] && deb822_sources "$suite" <"$file"
  done
  return 0
}

one_line_sources() {
  awk -v suite="$1" '
    $1 != "deb" { next }
    {
      key = ""
      if (match($0, /\[[^]]*\]/)) {
        options = substr($0, RSTART + 1, RLENGTH - 2)
        $0 = substr($0, 1, RSTART - 1) substr($0, RSTART + RLENGTH)
        count = split(options, option, " ")
        for (i = 1; i <= count; i++)
          if (option[i] ~ /^signed-by=/) key = substr(option[i], 11)
      }
      if ($3 == suite && $2 !~ /^cdrom:/) printf "%s\t%s\n", $2, key
    }'
}

# Stanzas end at empty lines; a Signed-By that holds a whole key (on lines of its own) is kept
# whole, with its line ends written as \r.
deb822_sources() {
  awk -v suite="$1" '
    function flush(    i, j, uri_count, suite_count, uri, suites) {
      if (types ~ /(^| )deb( |$)/ && tolower(enabled) != "no") {
        uri_count = split(uris, uri, " ")
        suite_count = split(suite_list, suites, " ")
        for (j = 1; j <= suite_count; j++)
          if (suites[j] == suite)
            for (i = 1; i <= uri_count; i++) printf "%s\t%s\n", uri[i], key
      }
      types = uris = suite_list = key = enabled = field = ""
    }
    /^[[:space:]]*$/ { flush(); next }
    /^#/ { next }
    /^[[:space:]]/ {
      if (field == "signed-by") key = key "\r" $0
      if (field == "uris") uris = uris $0
      if (field == "suites") suite_list = suite_list $0
      next
    }
    {
      field = tolower(substr($0, 1, index($0, ":") - 1))
      value = substr($0, index($0, ":") + 1)
      sub(/^[[:space:]]+/, "", value)
      if (field == "types") types = value
      if (field == "uris") uris = value
      if (field == "suites") suite_list = value
      if (field == "signed-by") key = value
      if (field == "enabled") enabled = value
    }
    END { flush() }'
}
