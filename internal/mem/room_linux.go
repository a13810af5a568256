package mem

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// limits are the machine's memory, the control group's, and what the address space has left.
func limits() []limit {
	var out []limit
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		out = append(out, limit{bytes: int64(info.Totalram+info.Totalswap) * int64(max(1, info.Unit)), format: "this machine has %s"})
	}
	if n, ok := groupLimit(); ok {
		out = append(out, limit{bytes: n, format: "the control group of this process may have %s (memory.max)"})
	}
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &r) == nil && r.Cur < 1<<62 {
		if used, ok := addressSpace(); ok {
			out = append(out, limit{bytes: max(0, int64(r.Cur)-used-goHeap), left: true, format: "the address space has %s left; raise its limit (ulimit -v)"})
		}
	}
	return out
}

// addressSpace is the size of the process's address space.
func addressSpace() (int64, bool) {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	first, _, _ := strings.Cut(string(raw), " ")
	n, err := strconv.ParseInt(first, 10, 64)
	return n * int64(os.Getpagesize()), err == nil
}

// groupLimit is the smallest memory.max of the process's control group and of those around it.
func groupLimit() (least int64, ok bool) {
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		path, v2 := strings.CutPrefix(s.Text(), "0::")
		if !v2 {
			continue
		}
		for dir := filepath.Join("/sys/fs/cgroup", path); strings.HasPrefix(dir, "/sys/fs/cgroup"); dir = filepath.Dir(dir) {
			raw, err := os.ReadFile(filepath.Join(dir, "memory.max"))
			if err != nil {
				continue
			}
			if n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64); err == nil && (!ok || n < least) {
				least, ok = n, true
			}
		}
	}
	return least, ok
}
