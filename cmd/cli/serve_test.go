package cli

import (
	"errors"
	"strings"
	"testing"
)

// TestServeClosed: a server that other machines reach is refused without a key, as is what cannot be served.
func TestServeClosed(t *testing.T) {
	t.Setenv("ADAPTFLOW_API_KEY", "")
	for want, args := range map[string][]string{
		"--api-key":      {"--listen", "0.0.0.0:0"},
		"--insecure":     {"--listen", "[::]:0"},
		"HOST:PORT":      {"--listen", "8000"},
		"white space":    {"--api-key", "a b"},
		"NAME=FOLDER":    {"--adapter", "=x"},
		"want a folder":  {"--adapters", "none/such"},
		"--pooling":      {"--pooling", "max"},
		"--dtype":        {"--dtype", "float99"},
		"no such file":   {"--api-key-file", "none/such"},
		"--max-num-seqs": {"--max-num-seqs", "0"},
	} {
		root := command()
		root.SetArgs(append([]string{"serve"}, args...))
		if err := root.Execute(); !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
	for host, want := range map[string]bool{"127.0.0.1": true, "::1": true, "localhost": true, "127.3.0.1": true,
		"": false, "0.0.0.0": false,
		"192.168.1.2": false, "example.org": false} {
		if loopback(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
