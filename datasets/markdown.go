package datasets

import "strings"

// frontMatter is the length of the YAML or TOML that a file of Markdown begins with, between lines of --- or +++, as generators of sites
// have it; 0 where it begins with none.
func frontMatter(text string) int {
	for _, mark := range []string{"---", "+++"} {
		first, rest, ok := strings.Cut(text, "\n")
		if !ok || strings.TrimRight(first, " \t\r") != mark {
			continue
		}
		at := len(first) + 1
		for line := range strings.Lines(rest) {
			at += len(line)
			switch s := strings.TrimRight(line, " \t\r\n"); {
			case s == mark || mark == "---" && s == "...":
				return at
			case mark == "---" && at == len(first)+1+len(line) && s == "": // a rule, and text below it
				return 0
			}
		}
	}
	return 0
}
