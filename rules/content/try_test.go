package content
import ("testing";"os";"fmt")
func TestTry(t *testing.T){
 b,_:=os.ReadFile("testdata/lexicon.txt")
 f,err:=Parse("lexicon.txt",b); if err!=nil {t.Fatal(err)}
 j,err:=Compile(f); if err!=nil {t.Fatal(err)}
 for _,s:=range []string{"博彩平台","博★彩平台","博\u200b彩","慱彩 博採","賭博彩票","办理个人贷款，月息0.5%","代贝款","十尃彩","加我薇信","加个VX","加\\/信","boCai平台","博cai平台","菠彩平台","勃采平台","bc平台","b彩平台","博8彩平台","百8家a乐平台","彩博平台","好，评，返，现","入股，彩。票据","红包装","公募基金","加微信13800138000","微信一三八〇〇〇〇一二三四","１380零零⓪壹2３④","1-3-8-0-0-0-0-1-2-3-4","l38ooool234","①③⑧⓪⓪⓪⓪①②③④","彩，piao","信倍 微倍","Ｑ❤Ｑ羣","🆀Ⓠ 群","www.abc.com/x http://t.cn/abc","abc88990","mai yi song yi","好\n评\n返\n现","(好)(评)(返)(现)","办理贷款"}{
  h:=j.All(nil,s); fmt.Printf("%q\n",s)
  for _,x:=range h { fmt.Printf("    %s %s %s [%d,%d) %q %d\n",j.Term(x.Term),x.Rule,x.Via,x.Start,x.End,s[x.Start:x.End],x.Points)}
 }
}
