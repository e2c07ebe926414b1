package channels

import (
	"context"

	"github.com/yizhan-dev/yizhan/schemas"
)

// Files fetches what attachments refer to; channels/attach is the one. Safe for concurrent use.
type Files interface {
	// Schemes are the schemes of URLs that it can fetch, separated by spaces: "file s3".
	Schemes() string
	// Fetch reads the tenant's files within ctx. What cannot be had is among the result, with why.
	// Whoever calls it closes the result, and uses no bytes of it afterwards.
	Fetch(ctx context.Context, tenant string, list []schemas.Attachment) *Fetched
}

// Fetched is what became of the attachments of one message, in their order.
type Fetched struct {
	Files []File
	// Release gives the memory back; nil when there is nothing to give back.
	Release func()
}

// Close gives the memory of the bytes back to the budget of the process.
func (f *Fetched) Close() {
	if f.Release != nil {
		f.Release()
		f.Release = nil
	}
}

// File is one attachment as it goes with the message, or why it cannot.
type File struct {
	Attached
	CID  string
	Data []byte // nil when Lack says why
	// Line is what the storage answered, masked, for operators.
	Line string
}

// Missing is a file that cannot be had, with what its event says of it.
func Missing(a schemas.Attachment, why Lack, line string) File {
	return File{Attached: Attached{Name: a.Name, Type: a.Type, Size: a.Size, SHA256: a.SHA256, Lack: why}, CID: a.CID, Line: line}
}

// Attached is what is told about an attachment of a message that went, without where it is stored.
type Attached struct {
	Name   string `json:"name"`
	Type   string `json:"type,omitzero"`
	Size   int    `json:"size,omitzero"`
	SHA256 string `json:"sha256,omitzero"`
	Lack   Lack   `json:"lack,omitzero"` // why it is not with the message; "" when it is
}

// Lack is why an attachment is not with its message. The set is closed.
type Lack string

// The lacks.
const (
	NotFound    Lack = "not-found"   // the storage answers, and has no such file (yet)
	Unreachable Lack = "unreachable" // the storage is down, too slow or broke off
	Altered     Lack = "altered"     // another size or hash than the event says; it may still be written
	TooLarge    Lack = "too-large"   // for a mail, alone or with the others
	WrongType   Lack = "wrong-type"  // the bytes are not what type or name say, or the type is not allowed
	Executable  Lack = "executable"
	Denied      Lack = "denied"     // the storage refuses us, or the address is not allowed
	NotSetUp    Lack = "not-set-up" // no such storage in yizhan.yaml
)

// Lacks lists every lack.
var Lacks = []Lack{NotFound, Unreachable, Altered, TooLarge, WrongType, Executable, Denied, NotSetUp}

// Passing says whether another attempt may find the file: a storage that is down comes back, and a file
// that an ERP is still writing appears. Waiting cures nothing else.
func (l Lack) Passing() bool { return l == NotFound || l == Unreachable || l == Altered }

// Text says it to the recipient, as the end of "The attachment … is missing: ".
func (l Lack) Text() schemas.Text {
	switch l {
	case NotFound:
		return schemas.Text{Zh: "没有找到该文件", En: "the file was not found"}
	case Unreachable:
		return schemas.Text{Zh: "文件存储暂时无法访问", En: "the file storage could not be reached"}
	case Altered:
		return schemas.Text{Zh: "文件内容与登记的不一致", En: "the file is not the one that was announced"}
	case TooLarge:
		return schemas.Text{Zh: "文件过大，不能随邮件发送", En: "the file is too large for a mail"}
	case WrongType:
		return schemas.Text{Zh: "文件类型不符合要求", En: "the file is not of an allowed type"}
	case Executable:
		return schemas.Text{Zh: "可执行文件不能随邮件发送", En: "programs are not sent by mail"}
	case Denied:
		return schemas.Text{Zh: "文件存储拒绝访问", En: "the file storage refused access"}
	case NotSetUp:
		return schemas.Text{Zh: "系统未配置该文件所在的存储", En: "the storage of the file is not set up"}
	}
	return schemas.Text{Zh: string(l), En: string(l)}
}

// Attempt is what a channel may know of the attempt that it is asked for.
type Attempt struct {
	Number int // of this generation, 1 is the first
	// Last: a failure of this attempt is not followed by another one.
	Last bool
}

type attemptKey struct{}

// WithAttempt tells the channel which attempt its Send is.
func WithAttempt(ctx context.Context, a Attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

// AttemptOf is the attempt that ctx belongs to. Where nobody said, nobody will repeat it either: it is the last.
func AttemptOf(ctx context.Context) Attempt {
	if a, ok := ctx.Value(attemptKey{}).(Attempt); ok {
		return a
	}
	return Attempt{Number: 1, Last: true}
}
