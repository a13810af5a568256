"""The loop of the checks that load adapter folders in a peer's library."""
import os


def each(root, what, limit, check):
    """check(FOLDER) gives the largest difference, which may be limit, by how much the adapter moves the logits, and a remark. Returns the exit code: 1 where one fails, or none is there."""
    bad, n = [], 0
    for name in sorted(os.listdir(root)):
        n += 1
        try:
            diff, moved, remark = check(os.path.join(root, name))
            ok = diff <= limit and moved > 1e-3
            print("%-28s %smax difference %.1e, moves the logits by %.2g%s" % (name, remark, diff, moved, "" if ok else "   WRONG"))
        except Exception as e:
            ok = False
            print("%-28s %s: %s   WRONG" % (name, type(e).__name__, str(e)[:300]))
        if not ok:
            bad.append(name)
    print("%d %s: %d passed, failed: %s" % (n, what, n - len(bad), ", ".join(bad) or "none"))
    return 1 if bad or not n else 0
