package cli

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// wantsArgument matches errors of a command that was given none.
var wantsArgument = regexp.MustCompile(`arg\(s\)|needs [A-Z]+|wants the name of a template`)

// Every flag that is a whole number is refused beyond its bounds before anything is done, in every command.
func TestFlagsInBounds(t *testing.T) {
	// These say themselves what is wrong with them.
	own := map[string]bool{"max-new-tokens": true, "top-k": true, "seed": true}
	used := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, s := range c.Commands() {
			walk(s)
		}
		if c.RunE == nil || c.Hidden {
			return
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !strings.HasPrefix(f.Value.Type(), "int") && f.Value.Type() != "uint" {
				return
			}
			b, ok := bounds[f.Name]
			if !ok {
				if !own[f.Name] {
					t.Errorf("%s --%s has no bounds", c.CommandPath(), f.Name)
				}
				return
			}
			used[f.Name] = true
			for _, v := range []int64{math.MinInt64, b[0] - 1, b[1] + 1, math.MaxInt64} {
				args := append(strings.Fields(c.CommandPath())[1:], fmt.Sprintf("--%s=%d", f.Name, v))
				root := command()
				// A template and a path, where the command wants one.
				for _, given := range [][]string{args, append(args, "domain-adaptation")} {
					root.SetArgs(given)
					err := root.Execute()
					if errors.As(err, new(usageError)) && wantsArgument.MatchString(err.Error()) {
						continue
					}
					want := fmt.Sprintf("--%s is %d; it must be from", f.Name, v)
					if !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), want) {
						t.Errorf("%v: %v", given, err)
					}
					break
				}
			}
			if f.DefValue != "[]" && !strings.HasPrefix(f.DefValue, "[") && f.DefValue != "0" {
				root := command()
				cmd, _, err := root.Find(strings.Fields(c.CommandPath())[1:])
				if err == nil {
					err = cmd.Flags().Set(f.Name, f.DefValue)
				}
				if err == nil {
					err = checkBounds(cmd, nil)
				}
				if err != nil {
					t.Errorf("the default of %s --%s: %v", c.CommandPath(), f.Name, err)
				}
			}
		})
	}
	walk(command())
	for name := range bounds {
		if !used[name] {
			t.Errorf("no command has --%s", name)
		}
	}
}
