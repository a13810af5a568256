// Package childenv starts child processes with the variables that they need and no others: tokens and keys that happen to stand in the
// environment reach no child.
package childenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// names are the variables that every child gets. Go's runtime is named one by one, since "GO" begins GOOGLE_… and GOAUTH, too.
var names = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "TMPDIR", "TMP", "TEMP", "LANG", "LANGUAGE", "LD_LIBRARY_PATH",
	"DYLD_LIBRARY_PATH",
	"GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG", "GOTRACEBACK", "GORACE", "GOCOVERDIR",
	"JDK_JAVA_OPTIONS", "SSL_CERT_FILE", "SSL_CERT_DIR",
	// Without these nothing starts on Windows, or its folders are not found.
	"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA",
	"NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE",
}

// prefixes begin the names of further ones.
var prefixes = []string{"LC_", "XDG_", "ADAPTFLOW_", "BEAM_", "JAVA_"}

// proxies are what any client of an object store may need to reach it. They can hold passwords.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"}

// schemes are what the client of a location's scheme reads, beside proxies: names, or beginnings of names that end in "_".
var schemes = map[string][]string{
	"s3": {"AWS_"},
	"gs": {"GOOGLE_", "CLOUDSDK_", "GCLOUD_PROJECT", "GCE_METADATA_HOST", "STORAGE_EMULATOR_HOST"},
}

// Set says which variables a child gets beside those that every child gets.
type Set struct {
	// Schemes of the locations that it reads or writes, such as s3.
	Schemes []string
	// More names variables, as NAME, which takes this process's value, or as NAME=VALUE.
	More []string
}

// Check tells what is wrong with More. Values are not in the error.
func (s Set) Check() error {
	for _, m := range s.More {
		name, _, given := strings.Cut(m, "=")
		if name == "" || strings.ContainsAny(name, " \t\r\n\x00") || strings.ContainsRune(m, 0) {
			return errors.New("want NAME or NAME=VALUE")
		}
		if _, ok := os.LookupEnv(name); !given && !ok {
			return fmt.Errorf("%s is not in the environment: set it, or give its value as %s=VALUE", name, name)
		}
	}
	return nil
}

// Names are the names of More.
func (s Set) Names() (out []string) {
	for _, m := range s.More {
		name, _, _ := strings.Cut(m, "=")
		out = append(out, name)
	}
	return out
}

// Environ is what a child gets of the environment environ, NAME=VALUE each.
func (s Set) Environ(environ []string) []string {
	var out []string
	for _, v := range environ {
		if name, _, ok := strings.Cut(v, "="); ok && name != "" && (always(name) || s.located(name)) {
			out = append(out, v)
		}
	}
	return append(out, s.more(environ)...)
}

// Sent is what a worker gets that another process starts, perhaps on another machine, which has its own folders, beside what that process
// has. plain are the program's own variables and those of Go's runtime, which may be seen by anyone; kept may hold keys: what the schemes
// need, and More.
func (s Set) Sent(environ []string) (plain, kept map[string]string) {
	plain, kept = map[string]string{}, map[string]string{}
	own := func(name string) bool {
		return strings.HasPrefix(name, "ADAPTFLOW_") || strings.HasPrefix(name, "GO") && slices.Contains(names, name)
	}
	for _, v := range environ {
		switch name, value, _ := strings.Cut(v, "="); {
		case own(name):
			plain[name] = value
		case s.located(name):
			kept[name] = value
		}
	}
	for _, v := range s.more(environ) {
		if name, value, _ := strings.Cut(v, "="); own(name) {
			plain[name] = value
		} else {
			kept[name] = value
		}
	}
	return plain, kept
}

func (s Set) more(environ []string) (out []string) {
	for _, m := range s.More {
		if strings.Contains(m, "=") {
			out = append(out, m)
			continue
		}
		for _, v := range environ {
			if name, _, _ := strings.Cut(v, "="); same(name, m) {
				out = append(out, v)
			}
		}
	}
	return out
}

func (s Set) located(name string) bool {
	for _, scheme := range s.Schemes {
		of := schemes[scheme]
		if of != nil && slices.Contains(proxies, name) {
			return true
		}
		for _, n := range of {
			if n == name || strings.HasSuffix(n, "_") && strings.HasPrefix(name, n) {
				return true
			}
		}
	}
	return false
}

func always(name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return same(n, name) }) ||
		slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// same compares names: Windows knows no case in them.
func same(a, b string) bool { return a == b || runtime.GOOS == "windows" && strings.EqualFold(a, b) }

// Command is exec.CommandContext of a child that gets what every child gets.
func Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return Set{}.Command(ctx, program, args...)
}

// Command is exec.CommandContext of a child that gets this set.
func (s Set) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = s.Environ(os.Environ())
	return cmd
}
