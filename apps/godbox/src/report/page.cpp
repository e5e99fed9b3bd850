// SPDX-License-Identifier: Apache-2.0
#include "report/page.h"

#include "report/svg.h"
#include <godbox/markup.h>

#include <fmt/format.h>

#include <algorithm>

namespace godbox::app::page {
namespace {

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --bg: #ffffff; --panel: #f6f7f9; --ink: #1b1f24;
  --soft: #57606a; --line: #d5dae1; --accent: #0b62c4; --warn: #b3261e; --cold: #e6edf6;
  --c0: #0b62c4; --c1: #c2500c; --c2: #1a7f4e; --c3: #8a3fb3;
  --c4: #a38300; --c5: #0f8193; --c6: #b8265f; --c7: #5c6675; }
@media (prefers-color-scheme: dark) { :root { --bg: #14171c; --panel: #1c2128; --ink: #e8ebef;
  --soft: #9aa5b1; --line: #343c47; --accent: #6cb0ff; --warn: #ff8a80; --cold: #222c3a;
  --c0: #6cb0ff; --c1: #ff9d5c; --c2: #5fd39a; --c3: #d09bf2;
  --c4: #e3c54b; --c5: #58c9db; --c6: #ff86b3; --c7: #a6b0bd; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, "Liberation Sans", "DejaVu Sans", sans-serif; }
main, header { max-width: 1240px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 28px; }
h1 { font-size: 1.7rem; margin: 0 0 4px; }
h2 { font-size: 1.25rem; margin: 40px 0 4px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 2px; color: var(--ink); }
p { margin: 4px 0 10px; max-width: 78ch; }
.soft, figcaption, .legend { color: var(--soft); font-size: 0.87rem; }
figure { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 4px 24px;
  margin: 18px 0; padding: 16px; background: var(--panel); border: 1px solid var(--line);
  border-radius: 8px; }
figure > figcaption { grid-column: 1 / -1; }
figure > .beside { overflow: auto; max-height: 420px; }
@media (max-width: 900px) { figure { grid-template-columns: minmax(0, 1fr); } }
svg.plot { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 11.5px; font-family: inherit; }
svg .axis-title { fill: var(--ink); font-size: 12.5px; }
svg .value { fill: var(--ink); paint-order: stroke; stroke: var(--panel); stroke-width: 3px; }
.grid { stroke: var(--line); stroke-width: 0.7; }
.axis { stroke: var(--soft); stroke-width: 1; }
.line { fill: none; stroke-width: 2; }
.range { stroke-width: 1.2; opacity: 0.7; }
.mark { stroke: var(--panel); stroke-width: 1; }
line.reference, polyline.reference { stroke: var(--soft); stroke-dasharray: 6 4;
  stroke-width: 1.5; }
.heat { fill: color-mix(in srgb, var(--accent) var(--heat), var(--cold)); }
.ramp { display: inline-block; width: 110px; height: 11px; vertical-align: -1px; border-radius: 2px;
  background: linear-gradient(90deg, var(--cold), var(--accent)); }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 2px 0 0;
  padding: 0; }
.key { display: inline-block; width: 20px; height: 0; border-top: 3px solid; margin-right: 6px;
  vertical-align: 4px; }
.key.reference { border-top: 2px dashed var(--soft); }
table { border-collapse: collapse; font-size: 0.84rem; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 10px 3px 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.text { text-align: left; }
thead th { color: var(--soft); font-weight: 600; position: sticky; top: 0; background: inherit; }
.scroll { overflow-x: auto; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(185px, 1fr)); gap: 10px;
  margin: 14px 0; padding: 0; }
.facts > div { background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  padding: 8px 12px; }
.facts dt { color: var(--soft); font-size: 0.8rem; }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.bad { color: var(--warn); font-weight: 700; }
footer { max-width: 1240px; margin: 40px auto; padding: 0 24px; color: var(--soft);
  font-size: 0.85rem; }
)";

// Where each plot lies, for whoever checks a picture of the page.
constexpr std::string_view kScript = R"(
function tellPlaces() {
  for (const figure of document.querySelectorAll('figure[data-plot]')) {
    const place = figure.querySelector('svg').getBoundingClientRect();
    figure.dataset.rect = [place.x + scrollX, place.y + scrollY, place.width, place.height]
      .map(Math.round).join(',');
  }
}
addEventListener('load', tellPlaces);
addEventListener('resize', tellPlaces);
)";

std::string colour_rules() {
  std::string rules;
  for (int i = 0; i < svg::kColours; ++i) {
    rules += fmt::format(
        "polyline.s{0}, line.s{0} {{ stroke: var(--c{0}); }} circle.s{0}, rect.s{0} {{ fill: "
        "var(--c{0}); }} .key.s{0} {{ border-color: var(--c{0}); }}\n",
        i);
  }
  return rules;
}

bool is_number(std::string_view text) {
  return !text.empty() && (text.front() == '-' || (text.front() >= '0' && text.front() <= '9'));
}

}  // namespace

std::string table(const HtmlTable& table) {
  if (table.rows.empty()) {
    return "";
  }
  std::string out = "<div class=\"scroll\"><table><thead><tr>";
  for (const std::string& head : table.heads) {
    out += fmt::format("<th scope=\"col\">{}</th>", escaped_markup(head));
  }
  out += "</tr></thead>\n<tbody>\n";
  for (const std::vector<std::string>& row : table.rows) {
    out += "<tr>";
    for (const std::string& cell : row) {
      out += fmt::format("<td{}>{}</td>", is_number(cell) ? "" : " class=\"text\"",
                         escaped_markup(cell));
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string figure(const Figure& figure) {
  if (figure.plot.empty()) {
    return "";
  }
  return fmt::format(
      "<figure data-plot=\"{}\">\n<figcaption><h3>{}</h3>{}</figcaption>\n<div>{}</div>\n"
      "<div class=\"beside\">{}</div>\n</figure>\n",
      escaped_markup(figure.name), escaped_markup(figure.title), escaped_markup(figure.caption),
      figure.plot, table(figure.table));
}

std::string section(std::string_view title, std::string_view text, std::string_view body) {
  if (body.empty()) {
    return "";
  }
  return fmt::format("<section>\n<h2>{}</h2>\n<p class=\"soft\">{}</p>\n{}</section>\n",
                     escaped_markup(title), escaped_markup(text), body);
}

std::string fact(std::string_view name, std::string_view value) {
  return fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escaped_markup(name),
                     escaped_markup(value));
}

std::string document(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}</title>\n<style>{}{}</style>\n</head>\n<body>\n{}\n<script>{}</script>\n"
      "</body>\n</html>\n",
      escaped_markup(title), kStyle, colour_rules(), body, kScript);
}

}  // namespace godbox::app::page
