package cli

import (
	"errors"
	"strings"
	"testing"
)

// A dtype that there is none of is told before anything is opened.
func TestGenerateDType(t *testing.T) {
	for _, dtype := range []string{"int4", "nf4", "float32+bfloat16", "auto@disk"} {
		root := command()
		root.SetArgs([]string{"generate", "--prompt", "x", "--model", t.TempDir() + "/none", "--dtype", dtype})
		err := root.Execute()
		if !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), "--dtype") {
			t.Errorf("--dtype %s: %v", dtype, err)
		}
	}
}
