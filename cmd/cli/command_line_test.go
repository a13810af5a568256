package cli

import "testing"

// TestCommandLine: the report has the command as a shell takes it, and no value of a variable.
func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"/usr/bin/adaptflow", "run", "domain-adaptation", "--set", "input=a b.txt"},
			"adaptflow run domain-adaptation --set 'input=a b.txt'"},
		{[]string{"af", "run", "--worker-env", "TOKEN=secret", "--worker-env=KEY=secret", "--set", "prompts=it's"},
			`adaptflow run --worker-env TOKEN --worker-env=KEY --set 'prompts=it'\''s'`},
	} {
		if got := commandLine(c.args); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
