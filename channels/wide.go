package channels

import "regexp"

// Wide says whether a failure of the given class concerns the whole channel or destination, so that every
// other message would meet it as well: refused credentials always do, refused settings where their code or
// words are in the lists below. Such a delivery waits for a person; others of class config are its own
// (a template, a number) and end.
func Wide(f *Failure, class Class) bool {
	switch class {
	case Auth:
		return true
	case Config:
		return wideCodes.MatchString(f.Code) || wideLines.MatchString(f.Line)
	}
	return false
}

// Narrow says whether "too fast" was said of one recipient, not of us: nobody else has to wait for it.
func Narrow(f *Failure) bool { return narrow.MatchString(f.Code) || narrow.MatchString(f.Line) }

// ofMailbox says that a mail server works and puts off this mailbox or message alone: greylisting, a full or
// busy mailbox. 4.3.x and 4.4.x are its own troubles (RFC 3463 sections 3.4 and 3.5).
func ofMailbox(f *Failure) bool {
	return f.Kind == "email" && mailboxReply.MatchString(f.Code) && !systemReply.MatchString(f.Code)
}

var (
	mailboxReply = regexp.MustCompile(`^45[0-2]\b`)
	systemReply  = regexp.MustCompile(`\b4\.[34]\.\d`)
	// narrow are limits of one number or mailbox. From the meanings in facts: diagnoses.csv.
	narrow = regexp.MustCompile(`(?i)isv\.BUSINESS_LIMIT_CONTROL|MOBILE_SEND_LIMIT|LimitExceeded\.PhoneNumber|5\.2\.12[12]|4\.2\.1\b|RP:(DRC|QRC|TRC)`)
	// wideCodes are codes about the account, the address, the connection, or the channel's own signature
	// and sender. From the meanings in facts: diagnoses.csv; which of them are channel-wide: memory.
	wideCodes = regexp.MustCompile(`(?i)^(` +
		`isv\.(AMOUNT_NOT_ENOUGH|OUT_OF_SERVICE|PRODUCT_UN_?SUBSCRI|ACCOUNT_|SECURITY_FROZEN|DENY_IP|INTERFACE_OFFLINE)|` +
		`isv\.(SMS_SIGN|SIGN_|ONE_CODE_MULTIPLE_SIGN|SMS_TEST_)|` +
		`SIGNATURE_BLACKLIST|InvalidTimeStamp|InvalidVersion|InvalidAction|PORT_NOT_REGISTERED|` +
		`FailedOperation\.(InsufficientBalance|Signature|MissingSignature)|InvalidParameterValue\.(SdkAppId|SignName)|UnauthorizedOperation\.|` +
		`E0000(0[1-6]|2[0-7]|40)|E000(109|110|112|620|629)|E2000(18|27)|` + // Huawei: header, clock, account, address, application
		`net:|http:(3\d\d|3xx|405|407|426|501|505|511|525)$|dispatcher:blocked-|` +
		`530|538|5\d\d 5\.7\.(57|60|64)\b|` +
		`310000|30000[15]|400013|40010[126]|9300[048]|190(01|21|22)|` +
		`no_service|no_active_hooks|no_team|team_disabled|invalid_token|channel_|user_not_found|action_prohibited` +
		`)`)
	// wideLines are words that say the same in an SMTP reply or an error of the network.
	wideLines = regexp.MustCompile(`(?i)x509:|tls: |first record does not look like a TLS|gave HTTP response to HTTPS|SMTP AUTH|STARTTLS|` +
		`5\.7\.139|AADSTS|5\.7\.57|5\.7\.60|SendAsDenied|authentication is required|client was not authenticated|` +
		`must (be same as authorization user|equal authorized user)|relay denied|relay access denied|unable to relay|main account unavailable`)
)
