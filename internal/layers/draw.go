package layers

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const begin, end = "<!-- the floors, by go generate ./internal/layers -->\n", "<!-- end of the floors -->\n"

// Draw returns the document with the picture of the floors between its marks, highest first: a Mermaid flowchart, whose arrows go from a
// floor to what it stands on. Dashed floors know Beam.
func Draw(doc []byte) ([]byte, error) {
	head, rest, ok := bytes.Cut(doc, []byte(begin))
	_, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return nil, errors.New("the marks of the picture are missing: " + strings.TrimSpace(begin))
	}
	var b strings.Builder
	b.WriteString("```mermaid\nflowchart TB\n")
	for i, row := range slices.Backward(Rows) {
		var names []string
		for _, f := range row {
			fmt.Fprintf(&b, "  %s[\"<b>%s</b><br>%s\"]\n", f.Name, f.Name, f.What)
			names = append(names, f.Name)
		}
		if i+1 < len(Rows) {
			var above []string
			for _, f := range Rows[i+1] {
				above = append(above, f.Name)
			}
			fmt.Fprintf(&b, "  %s --> %s\n", strings.Join(above, " & "), strings.Join(names, " & "))
		}
	}
	fmt.Fprintf(&b, "  classDef beam stroke-dasharray: 5 5\n  class %s beam\n```\n", strings.Join(BeamFolders, ","))
	return slices.Concat(head, []byte(begin), []byte(b.String()), []byte(end), tail), nil
}
