package mem

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// findLimits finds the machine's memory and the control group's.
func findLimits() []limit {
	var out []limit
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		out = append(out, limit{bytes: int64(info.Totalram+info.Totalswap) * int64(max(1, info.Unit)), format: "this machine has %s"})
	}
	if n, ok := groupLimit(); ok {
		out = append(out, limit{bytes: n, format: "the control group of this process may have %s (memory.max)"})
	}
	return out
}

// addressSpaceLeft is what the limit of the address space, where there is one, leaves for blocks.
func addressSpaceLeft() (int64, bool) {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &r) != nil || r.Cur >= 1<<62 {
		return 0, false
	}
	used, ok := addressSpace()
	return max(0, int64(r.Cur)-used-goHeap), ok
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
