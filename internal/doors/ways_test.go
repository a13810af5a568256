package doors

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// kernel is a fake that notes what it is asked for.
type kernel struct {
	asked  []string
	denied error
}

func (k *kernel) note(format string, a ...any) error {
	k.asked = append(k.asked, fmt.Sprintf(format, a...))
	return k.denied
}

func (k *kernel) text(fd, level, option int, value string) error {
	return k.note("fd %d level %d option %d: %s", fd, level, option, value)
}

func (k *kernel) number(fd, level, option, value int) error {
	return k.note("fd %d level %d option %d: %d", fd, level, option, value)
}

func (k *kernel) attach(fd int, program []instruction) error { return k.note("fd %d: %v", fd, program) }

// TestWaysOfSystems compares what a system's kernel is asked for with its documentation (socket(7), filter.h, ip(4) and ip6(4) of macOS),
// and what comes of a kernel that refuses.
func TestWaysOfSystems(t *testing.T) {
	lo := &Loopback{name: "lo", index: 3}
	const linux = "fd 9 level 1 option 25: lo"
	program := "fd 9: [{32 0 0 4294963208} {21 0 1 3} {6 0 0 4294967295} {6 0 0 0}]"
	for _, c := range []struct {
		name                   string
		device, filter, family error
		six                    bool
		ways                   string
		asked                  []string
		err                    string
	}{
		{name: "Linux", ways: "device filter", asked: []string{linux, program}},
		{name: "Linux before 5.7", ways: "device filter", device: syscall.EPERM, asked: []string{linux, program}},
		{name: "filters refused", ways: "device filter", filter: syscall.ENOSYS, asked: []string{linux, program}},
		{name: "both refused", ways: "device filter", device: syscall.EPERM, filter: syscall.ENOSYS, asked: []string{linux, program},
			err: "SO_BINDTODEVICE: operation not permitted; SO_ATTACH_FILTER: function not implemented"},
		{name: "macOS, IPv4", ways: "boundIf", asked: []string{"fd 9 level 0 option 25: 3"}},
		{name: "macOS, IPv6 and both", ways: "boundIf", six: true, asked: []string{"fd 9 level 41 option 125: 3"}},
		{name: "macOS refuses", ways: "boundIf", six: true, device: syscall.EINVAL, asked: []string{"fd 9 level 41 option 125: 3"},
			err: "IP_BOUND_IF: invalid argument"},
		{name: "macOS, no socket", ways: "boundIf", family: syscall.EBADF, err: "IP_BOUND_IF: bad file descriptor"},
		{name: "Windows", err: ErrNoWay.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked []string
			options, filters := &kernel{denied: c.device}, &kernel{denied: c.filter}
			of := map[string]way{
				"device": device(options.text, 1, 25),
				"filter": filter(filters.attach),
				"boundIf": boundIf(options.number, func(int) (int, error) {
					if c.six {
						return familyDarwin, c.family
					}
					return 2, c.family
				}),
			}
			var ways []way
			for _, w := range strings.Fields(c.ways) {
				ways = append(ways, of[w])
			}
			err := lo.confine(9, ways)
			if asked = append(options.asked, filters.asked...); fmt.Sprint(asked) != fmt.Sprint(c.asked) {
				t.Errorf("asked for %q, want %q", asked, c.asked)
			}
			if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Errorf("%v, want %q", err, c.err)
			}
			if c.ways == "" && !errors.Is(err, ErrNoWay) {
				t.Errorf("%v is not ErrNoWay", err)
			}
		})
	}
}
