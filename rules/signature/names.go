package signature

import (
	"slices"
	"strings"
	"unicode"
)

// The words by which a person tells that brackets hold no company's name.
var (
	// requests ask the reader for something: 【回复TD退订】, 【请勿告诉他人】.
	requests = []string{
		"回复", "退订", "拒收", "屏蔽", "取消订阅", "请", "勿", "您", "转发", "无效", "有效", "点击", "点此", "登录", "登陆", "下载", "查询", "查看", "详询", "咨询", "详见",
		"本短信",
	}
	// headings name what the message is about: 【重要提醒】, 【订单】.
	headings = []string{
		"通知", "提醒", "提示", "公告", "警告", "预警", "告警", "警示", "重要", "紧急", "温馨", "须知", "声明", "说明", "备注", "注意",
		"验证码", "校验码", "动态码", "动态密码", "取件码", "订单", "账单", "单号", "编号", "编码", "尾号", "短信", "活动", "优惠", "限时", "免费", "报名", "预约",
		"喜讯", "快讯", "资讯", "特惠", "促销", "好礼", "福利", "沙龙", "讲座", "秘书",
	}
	// pictures are what phones write in brackets for what a text cannot show: [图片], and the small faces of chats.
	pictures = []string{
		"图片", "照片", "视频", "语音", "表情", "位置", "文件", "附件", "链接", "红包", "名片", "微笑", "撇嘴", "发呆", "得意", "流泪", "害羞", "闭嘴", "大哭", "尴尬", "发怒", "调皮", "呲牙", "惊讶",
		"难过", "冷汗", "抓狂", "偷笑", "可爱", "愉快", "白眼", "傲慢", "惊恐", "憨笑", "大笑", "奋斗", "疑问", "敲打", "再见", "擦汗", "抠鼻", "鼓掌", "坏笑", "鄙视", "委屈", "阴险", "亲亲", "可怜", "玫瑰",
		"爱心", "心碎", "蛋糕", "太阳", "月亮", "拥抱", "握手", "胜利", "抱拳", "哈哈", "嘻嘻", "爱你", "笑脸", "笑哭", "捂脸", "嘿哈", "机智", "加油", "礼物", "鲜花", "OK", "ok",
	}
	// regions begin the names of companies that have nothing else in common.
	regions = []string{
		"中国", "中华", "国家", "全国", "北京", "上海", "天津", "重庆", "河北", "山西", "辽宁", "吉林", "黑龙江", "江苏", "浙江", "安徽", "福建", "江西", "山东", "河南", "湖北", "湖南", "广东",
		"海南", "四川", "贵州", "云南", "陕西", "甘肃", "青海", "台湾", "内蒙古", "广西", "西藏", "宁夏", "新疆", "香港", "澳门", "深圳", "广州", "杭州", "南京", "苏州", "武汉", "成都", "西安",
		"长沙", "郑州", "青岛", "大连", "宁波", "厦门", "东莞", "佛山", "无锡", "合肥", "济南", "福州", "沈阳", "哈尔滨", "长春", "昆明", "南昌", "南宁", "贵阳", "太原", "石家庄", "兰州",
		"东方", "华东", "华南", "华北", "华中", "西南", "西北", "东北", "环球", "国际", "世界",
	}
	// surnames are those of about nine in ten people in China, and the usual compound ones.
	surnames = []rune("王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤欧温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申关耿焦柳霍祝宁尚毕纪舒阮柯梅童凌裴骆")
	compound = []string{"欧阳", "司马", "上官", "诸葛", "司徒", "东方", "慕容", "皇甫", "尉迟", "公孙", "令狐", "夏侯", "端木", "南宫", "长孙", "宇文"}
	// given are characters that names of people are made of, those of placeholders (张三, 王某某) among them.
	given = []rune("伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂兰飞红玉梅建华文国志海林辉晓小波春玲燕萍丹鹏峰云斌浩亮琴雪雷莹颖婷欣怡佳琪瑶瑞思宇轩涵晨辰阳俊豪博睿皓然子梓雨泽嘉琳倩慧洁凤珍莲淑香月菊荣贵福生祥庆德仁义礼信忠良善武胜利民兵东南北冬夏秋天龙虎彪凯旋帆航鑫森炎坤乾毅立宏振永成家宝贝蕾薇菲媛嫣婧妍姝萱芸芬芝蓉茜莎雯霖霏露冰晶莉梦诗韵彤丹青岩松柏竹岚峻川江河源清泉润泓淼昊昱晖旭昕昌盛学书才艺彬雅逸达远进卫新启光辉耀灿煜炜烨焕烽晗韬略尧舜禹启朋友爱心悦乐宁安康健壮全喜元亨贞吉三四五六某")
)

func contains(list []string, s string) bool {
	return slices.ContainsFunc(list, func(w string) bool { return strings.Contains(s, w) })
}

// sentence says that brackets hold words to the reader, not a name.
func sentence(name []rune) bool {
	return contains(headings, string(name)) || request(name)
}

// request says that brackets hold more than a heading.
func request(name []rune) bool {
	return contains(requests, string(name)) || slices.ContainsFunc(name, func(r rune) bool {
		return strings.ContainsRune("，。！？；：、,!?;:~～…“”\"'＝=￥¥%％@#＃", r)
	})
}

// reference says that the name is a number of something: PO-2026-001, a time, a code.
func reference(name []rune) bool {
	digits := 0
	for _, r := range name {
		switch {
		case unicode.IsDigit(r):
			digits++
		case unicode.Is(unicode.Han, r):
			digits--
		}
	}
	return digits >= 3 || digits > 0 && 2*digits >= len(name)
}

// person says that the name may well be a person's: two or three characters, a common surname, and
// characters of which given names are made.
func person(name []rune) bool {
	rest := name
	switch {
	case len(name) > 2 && slices.Contains(compound, string(name[:2])):
		rest = name[2:]
	case len(name) > 1 && slices.Contains(surnames, name[0]):
		rest = name[1:]
	default:
		return false
	}
	return len(rest) <= 2 && !slices.ContainsFunc(rest, func(r rune) bool { return !slices.Contains(given, r) })
}

// akin says that two names may be the same sender's: one holds the other (携程 and 携程旅行), or one begins
// as an abbreviation or variation of the other does (工行 and 工商银行, 招商证券 and 招商银行). What begins with
// the name of a region alike has nothing else in common.
func akin(a, b []rune) bool {
	if len(a) < 2 || len(b) < 2 {
		return false
	}
	x, y := strings.ToLower(string(a)), strings.ToLower(string(b))
	if strings.Contains(x, y) || strings.Contains(y, x) {
		return true
	}
	begins := func(a, b []rune) bool {
		return unicode.Is(unicode.Han, a[0]) && a[0] == b[0] && slices.Contains(b[1:], a[1]) &&
			!slices.ContainsFunc(regions, func(r string) bool { return strings.HasPrefix(r, string(a[:2])) })
	}
	return begins(a, b) || begins(b, a)
}

func han(s []rune) bool {
	return slices.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
}

func only(s []rune, in func(rune) bool) bool {
	return len(s) > 0 && !slices.ContainsFunc(s, func(r rune) bool { return !in(r) })
}

func digit(r rune) bool { return '0' <= r && r <= '9' }

func latin(r rune) bool {
	return r < 0x80 && (digit(r) || unicode.IsLetter(r))
}
