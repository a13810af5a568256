package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/pipelines/kinds"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates"
)

// TestGeneratePrints: a prompt comes from stdin where it is to; JSON, pieces, and what contradicts.
func TestGeneratePrints(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, []byte("The city was\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	say := func(stdin string, args ...string) (int, string) {
		t.Helper()
		c := adaptflow(append([]string{"generate", "--max-new-tokens", "6"}, args...)...)
		if stdin != "" {
			f, err := os.Open(stdin)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c.Stdin = f
		}
		code, stdout, _ := ended(t, c)
		return code, stdout
	}
	_, plain := say("", "--prompt", "The city was")
	for _, args := range [][]string{nil, {"--prompt", "-"}, {"--prompt", "-", "--stream=false"}} {
		if _, got := say(in, args...); got != plain || !strings.HasPrefix(got, "The city was ") {
			t.Errorf("%v: %q, and with --prompt %q", args, got, plain)
		}
	}
	text := strings.TrimSuffix(strings.TrimPrefix(plain, "The city was"), "\n")
	if _, got := say(in, "--json"); !strings.Contains(got, `"text":"`+text+`","finish_reason":"length","prompt_tokens":3,"completion_tokens":6`) ||
		strings.Count(got, "\n") != 1 {
		t.Errorf("%q", got)
	}
	if _, got := say(in, "--json", "--stream"); strings.Count(got, "\n") < 3 {
		t.Errorf("%q", got)
	}
	if _, got := say(in, "--chat", "--json"); strings.Contains(got, text) || strings.Contains(got, `"prompt_tokens":3`) {
		t.Errorf("the template changes nothing: %q", got)
	}
	for _, args := range [][]string{{}, {"--prompt", "x", "--system", "y"}, {"--prompt", "x", "--output", "z", "--json"}} {
		if code, got := say("", args...); code != 2 || got != "" {
			t.Errorf("%v: exit code %d, %q", args, code, got)
		}
	}
}

// TestAsks: what a run says can ask its result is a command of this program with flags that it has; each kind but comparison has one.
func TestAsks(t *testing.T) {
	for _, tmpl := range templates.List() {
		r, err := tmpl.Resolve("", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		k := kinds.Of(r)
		if k.Asks == nil {
			if k.Name != "a comparison of methods" {
				t.Errorf("%s has nothing that asks its result", tmpl.Name)
			}
			continue
		}
		checkCommand(t, k.Asks(r, "out"))
	}
	r := recipe.Recipe{}
	r.Prepare.ApplyChatTemplate = true
	r.Model.Path = "base"
	if got := strings.Join(kinds.Of(&r).Asks(&r, "some/out"), " "); got != "chat --model base --adapter out=some/out" {
		t.Error(got)
	}
}

func checkCommand(t *testing.T, args []string) {
	t.Helper()
	c, rest, err := command().Find(args)
	if err != nil || c.Name() != args[0] {
		t.Fatalf("%v: %v", args, err)
	}
	if err := c.ParseFlags(rest); err != nil {
		t.Errorf("%v: %v", args, err)
	}
	if !errors.Is(cobra.NoArgs(c, c.Flags().Args()), nil) {
		t.Errorf("%v: %v are left", args, c.Flags().Args())
	}
}
