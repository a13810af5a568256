package assets

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// TestLicenses: every module that is linked into the program is there in its version with a licence, and what is embedded with its own.
func TestLicenses(t *testing.T) {
	text, err := Licenses()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"banking77", "Upstream-Name: man-pages",
		"Copyright (c) 2021 OpenAI", "Go and its standard library: BSD-3-Clause",
		"http://www.apache.org/licenses/"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%q is missing", want)
		}
	}
	const each = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}"
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", each, "./cmd/adaptflow")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		line := s.Text()
		if line == "" {
			continue
		}
		n++
		if !bytes.Contains(text, []byte("\n"+line+": ")) {
			t.Errorf("%s is not among the notices: run go -C interop/notices run .", strings.TrimSpace(line))
		}
	}
	if n < 100 {
		t.Errorf("only %d modules were looked at", n)
	}
}
