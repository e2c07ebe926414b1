package content

import "sync"

// Action is what a finding asks for, weakest first.
type Action uint8

// The actions.
const (
	ActionPass   Action = iota
	ActionReview        // a person should look; it goes out all the same
	ActionBlock
)

// String is the action's name in verdicts.
func (a Action) String() string { return [...]string{"pass", "review", "block"}[a] }

// Class is the kind of business message. It comes from the template or the type of the event, never from
// the text.
type Class string

// The classes; "" is not known.
const (
	ClassUnknown         Class = ""
	ClassVerification    Class = "verification"
	ClassInvoice         Class = "invoice"
	ClassApproval        Class = "approval"
	ClassLogistics       Class = "logistics"
	ClassInventory       Class = "inventory"
	ClassFinanceVoucher  Class = "finance_voucher"
	ClassPaymentReminder Class = "payment_reminder"
	ClassPayroll         Class = "payroll"
	ClassHR              Class = "hr"
	ClassITAlert         Class = "it_alert"
	ClassMaintenance     Class = "maintenance"
	ClassCustomerService Class = "customer_service"
	ClassMarketingOptIn  Class = "marketing_optin"
	ClassMarketingBlind  Class = "marketing_blind"
)

// Classes are all classes but the unknown one.
var Classes = []Class{
	ClassVerification, ClassInvoice, ClassApproval, ClassLogistics, ClassInventory, ClassFinanceVoucher, ClassPaymentReminder,
	ClassPayroll, ClassHR, ClassITAlert, ClassMaintenance, ClassCustomerService, ClassMarketingOptIn, ClassMarketingBlind,
}

// What points mean.
const (
	blockAt  = 10 // points of different terms close together
	reviewAt = 6
	// window is how far terms may be apart to count together, in characters that folding keeps.
	window = 120
	// A disguise is evidence of its own, once for each rule, where the term weighs something.
	disguisePoints  = 3
	disguiseMinimum = 3
	// transactionalShift is how much more it takes in messages about business that happened.
	transactionalShift = 4
	// blindShift makes marketing without consent block at 8.
	blindShift = -2
)

// policy is what one class allows one rule.
type policy struct {
	shift     int // added to both thresholds
	strongest Action
	// single lets a term that weighs blockAt by itself block without the shift.
	single bool
}

// policyOf is the line of the table for a class; one that nobody knows is as good as none.
func policyOf(c Class) *[ruleCount]policy {
	if line, ok := policies()[c]; ok {
		return line
	}
	return policies()[ClassUnknown]
}

var policies = sync.OnceValue(func() map[Class]*[ruleCount]policy {
	table := map[Class]*[ruleCount]policy{ClassUnknown: newPolicy(ClassUnknown)}
	for _, c := range Classes {
		table[c] = newPolicy(c)
	}
	return table
})

// newPolicy makes the line of the table for a class.
//
//	class            rule 1            2 3 5 6 7 8 x    4 11
//	unknown          review            block            block
//	transactional    review, +4        block, +4        block
//	marketing_optin  pass              block            block
//	marketing_blind  block, -2         block            block
func newPolicy(c Class) *[ruleCount]policy {
	line := new([ruleCount]policy)
	for r := range line {
		line[r] = policy{strongest: ActionBlock, single: true}
	}
	line[RuleMarketing].strongest = ActionReview
	switch {
	case c == ClassMarketingOptIn:
		line[RuleMarketing].strongest = ActionPass
	case c == ClassMarketingBlind:
		line[RuleMarketing] = policy{blindShift, ActionBlock, true}
	case c != ClassUnknown:
		for r := range line {
			if r := Rule(r); r != RuleGambling && r != RuleSensitive {
				line[r].shift = transactionalShift
			}
		}
	}
	return line
}
