package infer

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/peft"
)

// OtherBase says that an adapter folder names another base model than the one in the folder dir, whose shapes may fit all the
// same; "" where it does not. The model may be called something else than its folder (org/name of the hub), and one that was
// copied keeps the last part of its name.
func OtherBase(dir, called, adapter string) string {
	if adapter == "" {
		return ""
	}
	made, err := peft.BaseOf(adapter)
	last := path.Base(filepath.ToSlash(made))
	if err != nil || made == "" || slices.Contains([]string{filepath.Base(dir), path.Base(filepath.ToSlash(called))}, last) {
		return ""
	}
	return fmt.Sprintf("%s was made for the base model %s, and this is %s: over another model than its own an adapter gives nonsense",
		adapter, made, called)
}

// Warnings say what a user should know of an adapter folder over the model in dir, which is called something: that it names
// another base, and which fields of its configuration are passed over.
func Warnings(dir, called, adapter string) (out []string) {
	if adapter == "" {
		return nil
	}
	if s := OtherBase(dir, called, adapter); s != "" {
		out = append(out, s)
	}
	if fields := peft.Ignored(adapter); len(fields) > 0 {
		out = append(out, fmt.Sprintf("%s: fields that adaptflow does not have, and that are not in use or change nothing here, "+
			"are ignored: %s",
			filepath.Join(adapter, peft.ConfigFile), strings.Join(fields, ", ")))
	}
	return out
}
