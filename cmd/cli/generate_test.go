package cli

import (
	"errors"
	"strings"
	"testing"
)

// An unknown dtype is refused before anything is opened.
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

// So is a dtype of the cache that there is none of; a right one gets as far as the model.
func TestGenerateCacheDType(t *testing.T) {
	for dtype, right := range map[string]bool{"int8": false, "auto": false, "bfloat16": true} {
		root := command()
		root.SetArgs([]string{"generate", "--prompt", "x", "--model", t.TempDir() + "/none", "--cache-dtype", dtype})
		err := root.Execute()
		if told := err != nil && strings.Contains(err.Error(), "--cache-dtype"); err == nil || told == right {
			t.Errorf("--cache-dtype %s: %v", dtype, err)
		}
	}
}
