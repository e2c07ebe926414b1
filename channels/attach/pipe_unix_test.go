//go:build unix

package attach

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/schemas"
)

// What is no regular file is not even opened: a pipe would hold the reader until somebody writes.
func TestFolderOpensNoPipe(t *testing.T) {
	e := env(t)
	if err := syscall.Mkfifo(filepath.Join(e.Dir, "pipe.pdf"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{File: File{Root: "."}}, e, nil)
	if got := one(t, s, schemas.Attachment{Name: "a.pdf", URL: "file:///pipe.pdf"}); got.Lack != channels.Denied {
		t.Errorf("%q (%s)", got.Lack, got.Line)
	}
}
