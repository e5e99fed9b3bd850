# SPDX-License-Identifier: Apache-2.0
# Reads apt's configuration; source it. Needs awk and nothing else: Python may not be there yet.
# shellcheck shell=bash

# Every "URI<tab>fields" from which this machine takes suite $1, in both formats of apt's
# configuration. The fields say how far the source is believed (Signed-By, Trusted and
# Check-Valid-Until), as deb822 writes them, with \r for each line end.
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
    function add(name, value) { fields = fields (fields == "" ? "" : "\r") name ": " value }
    $1 != "deb" { next }
    {
      fields = ""
      if (match($0, /\[[^]]*\]/)) {
        options = substr($0, RSTART + 1, RLENGTH - 2)
        $0 = substr($0, 1, RSTART - 1) substr($0, RSTART + RLENGTH)
        count = split(options, option, " ")
        for (i = 1; i <= count; i++) {
          value = substr(option[i], index(option[i], "=") + 1)
          if (option[i] ~ /^signed-by=/) add("Signed-By", value)
          if (option[i] ~ /^trusted=/) add("Trusted", value)
          if (option[i] ~ /^check-valid-until=/) add("Check-Valid-Until", value)
        }
      }
      if ($3 == suite && $2 !~ /^cdrom:/) printf "%s\t%s\n", $2, fields
    }'
}

# Stanzas end at empty lines; a Signed-By that holds a whole key (on lines of its own) is kept
# whole, with its line ends written as \r.
deb822_sources() {
  awk -v suite="$1" '
    function add(name, value) {
      if (value != "") fields = fields (fields == "" ? "" : "\r") name ": " value
    }
    function flush(    i, j, uri_count, suite_count, uri, suites) {
      if (types ~ /(^| )deb( |$)/ && tolower(enabled) != "no") {
        uri_count = split(uris, uri, " ")
        suite_count = split(suite_list, suites, " ")
        fields = ""
        add("Signed-By", key)
        add("Trusted", trusted)
        add("Check-Valid-Until", check_valid)
        for (j = 1; j <= suite_count; j++)
          if (suites[j] == suite)
            for (i = 1; i <= uri_count; i++) printf "%s\t%s\n", uri[i], fields
      }
      types = uris = suite_list = key = trusted = check_valid = enabled = field = ""
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
      if (field == "trusted") trusted = value
      if (field == "check-valid-until") check_valid = value
      if (field == "enabled") enabled = value
    }
    END { flush() }'
}
