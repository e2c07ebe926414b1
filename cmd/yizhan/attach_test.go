package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/sandbox"
	"github.com/yizhan-dev/yizhan/schemas"
)

// attachCLI runs the program and returns what it prints.
func attachCLI(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), append(args, "--lang", "en"), strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// A file goes the whole way: uploaded, referred to, fetched, sent, told about, and downloaded from the inbox.
func TestAttachmentsEndToEnd(t *testing.T) {
	s, sb := openDevService(t, t.TempDir())
	r := start(t, s)
	pdf := []byte("%PDF-1.7\n对账单 2026-11\n%%EOF\n")
	png := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
	dir := t.TempDir()
	for name, b := range map[string][]byte{"a.pdf": pdf, "logo.png": png} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	upload := func(args ...string) (a schemas.Attachment) {
		t.Helper()
		code, out, errs := attachCLI(t, append([]string{"attach", "--server", r.base, "--tenant", "acme"}, args...)...)
		if err := json.Unmarshal([]byte(out), &a); code != 0 || err != nil {
			t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
		}
		return a
	}
	bill := upload(filepath.Join(dir, "a.pdf"), "--name", "华星科技 对账单.pdf")
	logo := upload(filepath.Join(dir, "logo.png"), "--cid", "logo")
	if bill.Name != "华星科技 对账单.pdf" || bill.Size != len(pdf) || !strings.HasPrefix(bill.URL, "object://attachments/acme/") || logo.CID != "logo" {
		t.Errorf("references %+v, %+v", bill, logo)
	}
	event := everyChannel("with-files")
	data := event["data"].(map[string]any)
	delete(data, "template")
	delete(data, "params")
	data["content"] = map[string]any{"subject": "采购审批 PO-1", "text": "采购审批已通过，见附件", "html": `<p><img src="cid:logo">采购审批已通过</p>`}
	data["channels"] = []string{"mail"}
	data["attachments"] = []any{bill, logo, schemas.Attachment{Name: "别处.pdf", URL: "https://files.example.com/other.pdf"}, schemas.Attachment{Name: "他人.pdf", URL: "object://attachments/demo/x"}}
	publish(t, r.base, event)
	eventually(t, "the mail arrives", func() bool { return len(arrived(sb, "email")) == 1 })
	mail := arrived(sb, "email")[0]
	if len(mail.Files) != 2 {
		t.Fatalf("%d files, in %s", len(mail.Files), mail.Raw)
	}
	got := map[string]sandbox.File{}
	for _, f := range mail.Files {
		got[f.Name] = f
	}
	if f := got["华星科技 对账单.pdf"]; !bytes.Equal(f.Data, pdf) || f.Type != "application/pdf" || f.CID != "" {
		t.Errorf("the file %+v", f)
	}
	if f := got["logo.png"]; !bytes.Equal(f.Data, png) || f.CID != "logo" {
		t.Errorf("the image %+v", f)
	}
	if !strings.Contains(mail.Text, "别处.pdf: https://files.example.com/other.pdf") || !strings.Contains(mail.Text, "附件“他人.pdf”未能随本邮件发送：文件存储拒绝访问。") {
		t.Errorf("text %q, want a link and an excuse", mail.Text)
	}
	var out string
	eventually(t, "the trace tells", func() bool {
		_, out, _ = attachCLI(t, "trace", "with-files", "--server", r.base)
		return strings.Contains(out, "Accepted") || strings.Contains(out, "accepted")
	})
	sum := sha256.Sum256(pdf)
	for _, want := range []string{"华星科技 对账单.pdf", fmt.Sprintf("%d bytes, application/pdf, sha256 %s", len(pdf), hex.EncodeToString(sum[:])[:12]), "他人.pdf", "the file storage refused access"} {
		if !strings.Contains(out, want) {
			t.Errorf("the trace does not say %q:\n%s", want, out)
		}
	}
	res, err := http.Get(r.base + fmt.Sprintf("/sandbox/inbox/%d/files/0", mail.Number))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(b, mail.Files[0].Data) || !strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%d, %v, %v", len(b), err, res.Header)
	}
}

func TestAttachSaysWhatIsWrong(t *testing.T) {
	s, _ := openDevService(t, t.TempDir())
	r := start(t, s)
	dir := t.TempDir()
	for name, size := range map[string]int{"empty.pdf": 0, "large.pdf": 10<<20 + 1, "a.pdf": 3} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "missing the file to upload"},
		{[]string{filepath.Join(dir, "none.pdf")}, exitUsage, "cannot open the file"},
		{[]string{filepath.Join(dir, "empty.pdf")}, exitProblem, "the file is empty"},
		{[]string{filepath.Join(dir, "large.pdf")}, exitProblem, "larger than 10485760 bytes"},
		{[]string{filepath.Join(dir, "a.pdf"), "--name", "a/b.pdf"}, exitProblem, "must be a file name"},
		{[]string{filepath.Join(dir, "a.pdf"), "--tenant", "nobody"}, exitProblem, "no such tenant"},
		{[]string{filepath.Join(dir, "a.pdf"), "--cid", "logo"}, exitProblem, "must be an image"},
	} {
		code, out, errs := attachCLI(t, append([]string{"attach", "--server", r.base}, tt.args...)...)
		if code != tt.code || !strings.Contains(errs, tt.want) || out != "" {
			t.Errorf("%v: exit %d %s%s, want %d %q", tt.args, code, out, errs, tt.code, tt.want)
		}
	}
}

// The example of the manual is a good one, in both languages the same, and the event refers to the file beside it.
func TestAttachmentsManual(t *testing.T) {
	var examples []string
	for _, name := range []string{"attachments.md", "attachments.zh-CN.md"} {
		b, err := os.ReadFile(filepath.Join("../../docs", name))
		if err != nil {
			t.Fatal(err)
		}
		found := fence.FindAllStringSubmatch(string(b), -1)
		if len(found) != 1 {
			t.Fatalf("%s has %d yaml examples", name, len(found))
		}
		examples = append(examples, found[0][1])
		for _, lack := range channels.Lacks {
			if !strings.Contains(string(b), "| `"+string(lack)+"` |") {
				t.Errorf("%s does not explain %s", name, lack)
			}
		}
	}
	if examples[0] != examples[1] {
		t.Error("the examples differ")
	}
	dir := configDir(t)
	if err := judge(t, compileSchema(t, "yizhan.schema.json"), examples[0]); err != nil {
		t.Error(err)
	}
	doc := strings.NewReplacer("/run/secrets/oss-id", "id", "/run/secrets/oss-secret", "secret", "/var/lib/erp/reports", dir).Replace(examples[0])
	if err := tryConfig(t, dir, doc); err != nil {
		t.Error(err)
	}
	raw, err := os.ReadFile("../../docs/examples/attachment.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := schemas.DecodeEvent(raw)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("../../docs/examples/statement.csv")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(file)
	if a := e.Data.Attachment[0]; a.SHA256 != hex.EncodeToString(sum[:]) || a.URL != "object://attachments/acme/"+a.SHA256 || a.Size != len(file) {
		t.Errorf("attachment.json refers to another file than statement.csv: %+v", a)
	}
}

// An ERP often announces a report before it is written: the mail waits, and goes with it.
func TestAMailWaitsForItsFile(t *testing.T) {
	s, sb := openDevService(t, t.TempDir())
	r := start(t, s)
	file := filepath.Join(t.TempDir(), "a.csv")
	if err := os.WriteFile(file, []byte("a,b\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("a,b\n1,2\n"))
	hash := hex.EncodeToString(sum[:])
	event := everyChannel("early")
	data := event["data"].(map[string]any)
	data["channels"] = []string{"mail"}
	data["attachments"] = []any{schemas.Attachment{Name: "a.csv", URL: "object://attachments/acme/" + hash, SHA256: hash}}
	publish(t, r.base, event)
	var out string
	eventually(t, "the mail waits", func() bool {
		_, out, _ = attachCLI(t, "trace", "early", "--server", r.base)
		return strings.Contains(out, "attachment-unavailable")
	})
	for _, want := range []string{"the mail waits for it", "a.csv: not-found"} {
		if !strings.Contains(out, want) {
			t.Errorf("the trace does not say %q:\n%s", want, out)
		}
	}
	if code, _, errs := attachCLI(t, "attach", file, "--tenant", "acme", "--server", r.base); code != 0 {
		t.Fatal(errs)
	}
	eventually(t, "the mail arrives", func() bool { return len(arrived(sb, "email")) > 0 })
	mail := arrived(sb, "email")
	if len(mail) != 1 || len(mail[0].Files) != 1 || string(mail[0].Files[0].Data) != "a,b\n1,2\n" || strings.Contains(mail[0].Text, "未能随本邮件发送") {
		t.Errorf("%d mails, the first with %d files: %s", len(mail), len(mail[0].Files), mail[0].Text)
	}
}
