package run

import "testing"

func TestBuiltInConstants(t *testing.T) {
	if _, err := ReadConstants(""); err != nil {
		t.Errorf("the built-in constants: %v", err)
	}
}
