/* Calls in Segment's shape: type, ids, names, times, context, Waymark's members; what each becomes, and what each
 * refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/decode_case.h"

static const struct decode_case shape[] = {
    {"[]", "not_object: the event is no JSON object"},
    {"7", "not_object: the event is no JSON object"},
    {"null", "not_object: the event is no JSON object"},
    {"'x'", "not_object: the event is no JSON object"},
    {"true", "not_object: the event is no JSON object"},
    {"[{}]", "not_object: the event is no JSON object"},
    {"{}", "type_unknown: type is missing"},
};

static const struct decode_case types[] = {
    {"{'type':'teleport','userId':'u'}", "type_unknown: type is not page, screen, track, identify, group or alias"},
    {"{'type':5,'userId':'u'}", "type_unknown: type is not page, screen, track, identify, group or alias"},
    {"{'type':null,'userId':'u'}", "type_unknown: type is missing"},
    {"{'type':['track'],'userId':'u'}", "type_unknown: type is not page, screen, track, identify, group or alias"},
    {"{'type':'Track','event':'E','userId':'u'}",
     "type_unknown: type is not page, screen, track, identify, group or alias"},
    {"{'type':'order','userId':'u'}", "type_unknown: type is not page, screen, track, identify, group or alias"},
    {"{'type':'','userId':'u'}", "type_unknown: type is not page, screen, track, identify, group or alias"},
    {"{'type':'page','userId':'u'}", "page user=u ip=192.0.2.1 agent=UA"},
    {"{'type':'screen','userId':'u','name':'Home'}", "screen name=Home user=u ip=192.0.2.1 agent=UA"},
    {"{'type':'identify','userId':'u'}", "identify user=u ip=192.0.2.1 agent=UA"},
    {"{'type':'group','userId':'u','groupId':7}", "group user=u group=7 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','type':'screen','userId':'u'}", "screen user=u ip=192.0.2.1 agent=UA"},
};

static const struct decode_case route_types[] = {
    {"{'event':'E','userId':'u'}", "track name=E user=u ip=192.0.2.1 agent=UA"},
    {"{'type':null,'event':'E','userId':'u'}", "track name=E user=u ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u'}", "page user=u ip=192.0.2.1 agent=UA"},
    {"{'type':'merge','userId':'u'}", "type_unknown: type is not page, screen, track, identify, group or alias"},
};

static const struct decode_case ids[] = {
    {"{'type':'page'}", "id_missing: neither userId nor anonymousId names anybody"},
    {"{'type':'page','userId':''}", "id_missing: neither userId nor anonymousId names anybody"},
    {"{'type':'page','userId':null,'anonymousId':null}", "id_missing: neither userId nor anonymousId names anybody"},
    {"{'type':'page','userId':'nobody'}", "id_missing: neither userId nor anonymousId names anybody"},
    {"{'type':'page','userId':'NoBody','anonymousId':'NULL'}",
     "id_missing: neither userId nor anonymousId names anybody"},
    {"{'type':'page','userId':'nobody','anonymousId':'a'}", "page anon=a ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':4711}", "page user=4711 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':-7}", "page user=-7 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':12345678901234567890123}", "page user=12345678901234567890123 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':1.5}", "id_invalid: userId is neither a string nor an integer"},
    {"{'type':'page','userId':1e3}", "id_invalid: userId is neither a string nor an integer"},
    {"{'type':'page','userId':true}", "id_invalid: userId is neither a string nor an integer"},
    {"{'type':'page','userId':{'a':1}}", "id_invalid: userId is neither a string nor an integer"},
    {"{'type':'page','anonymousId':[1]}", "id_invalid: anonymousId is neither a string nor an integer"},
    {"{'type':'page','userId':['u']}", "id_invalid: userId is neither a string nor an integer"},
    {"{'type':'page','user_id':'u','anonymous_id':'a','message_id':'m'}",
     "page user=u anon=a mid=m ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'camel','user_id':'snake'}", "page user=camel ip=192.0.2.1 agent=UA"},
    {"{'type':'page','user_id':'snake','userId':null}", "page user=snake ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'one','userId':'two'}", "page user=two ip=192.0.2.1 agent=UA"},
    {"{'type':'page','anonymousId':'order:O1'}",
     "id_invalid: anonymousId begins with order:, which only the collector gives"},
    {"{'type':'page','anonymousId':'order:'}",
     "id_invalid: anonymousId begins with order:, which only the collector gives"},
    {"{'type':'page','userId':'order:O1'}", "page user=order:O1 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','anonymousId':'orders'}", "page anon=orders ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':' u '}", "page user= u  ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'天宇'}", "page user=天宇 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','messageId':7}", "page user=u mid=7 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','messageId':''}", "page user=u ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','messageId':null}", "page user=u ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','messageId':{}}", "id_invalid: messageId is neither a string nor an integer"},
    {"{'type':'page','userId':'u','messageId':1.5}", "id_invalid: messageId is neither a string nor an integer"},
    {"{'type':'group','userId':'u','groupId':{}}", "id_invalid: groupId is neither a string nor an integer"},
    {"{'type':'group','anonymousId':'a','group_id':'g'}", "group anon=a group=g ip=192.0.2.1 agent=UA"},
    {"{'type':'group'}", "id_missing: neither userId nor anonymousId names anybody"},
};

static const struct decode_case aliases[] = {
    {"{'type':'alias','userId':'u','previousId':'a'}", "alias user=u previous=a ip=192.0.2.1 agent=UA"},
    {"{'type':'alias','userId':'u','previous_id':'a'}", "alias user=u previous=a ip=192.0.2.1 agent=UA"},
    {"{'type':'alias','from':'a','to':'u'}", "alias user=u previous=a ip=192.0.2.1 agent=UA"},
    {"{'type':'alias','userId':'u','from':'a','to':'x'}", "alias user=u previous=a ip=192.0.2.1 agent=UA"},
    {"{'type':'alias','userId':'u'}", "id_missing: an alias needs previousId"},
    {"{'type':'alias','previousId':'a'}", "id_missing: an alias needs userId"},
    {"{'type':'alias','anonymousId':'a','previousId':'b'}", "id_missing: an alias needs userId"},
    {"{'type':'alias','userId':'u','previousId':'nobody'}", "id_missing: an alias needs previousId"},
    {"{'type':'alias','userId':'nobody','previousId':'a'}", "id_missing: an alias needs userId"},
    {"{'type':'alias','userId':'u','previousId':'order:O'}",
     "id_invalid: previousId begins with order:, which only the collector gives"},
    {"{'type':'alias','userId':'u','from':'order:O'}",
     "id_invalid: from begins with order:, which only the collector gives"},
    {"{'type':'alias','userId':'u','previousId':[]}", "id_invalid: previousId is neither a string nor an integer"},
    {"{'type':'page','userId':'u','previousId':{},'from':'x'}",
     "page user=u ip=192.0.2.1 agent=UA extra={'previousId':{},'from':'x'}"},
};

static const struct decode_case names[] = {
    {"{'type':'track','userId':'u'}", "name_missing: a track needs event, its name"},
    {"{'type':'track','userId':'u','event':''}", "name_missing: a track needs event, its name"},
    {"{'type':'track','userId':'u','event':null}", "name_missing: a track needs event, its name"},
    {"{'type':'track','userId':'u','event':{}}", "name_missing: a track needs event, its name"},
    {"{'type':'track','userId':'u','event':7}", "track name=7 user=u ip=192.0.2.1 agent=UA"},
    {"{'type':'track','userId':'u','name':'N'}", "name_missing: a track needs event, its name"},
    {"{'type':'track','userId':'u','event':'E','name':'N'}",
     "track name=E user=u ip=192.0.2.1 agent=UA extra={'name':'N'}"},
    {"{'type':'page','userId':'u','properties':{'name':'P'}}",
     "page name=P user=u ip=192.0.2.1 agent=UA properties={'name':'P'}"},
    {"{'type':'page','userId':'u','name':'N','properties':{'name':'P'}}",
     "page name=N user=u ip=192.0.2.1 agent=UA properties={'name':'P'}"},
    {"{'type':'page','userId':'u','event':'E'}", "page user=u ip=192.0.2.1 agent=UA extra={'event':'E'}"},
    {"{'type':'identify','userId':'u','name':'N'}", "identify user=u ip=192.0.2.1 agent=UA extra={'name':'N'}"},
    {"{'type':'page','userId':'u','name':{},'category':'C'}",
     "page user=u ip=192.0.2.1 agent=UA extra={'name':{},'category':'C'}"},
};

static const struct decode_case times[] = {
    {"{'type':'page','userId':'u','timestamp':'2025-12-31T12:00:00Z'}",
     "page user=u time=1767182400000 original=1767182400000"},
    {"{'type':'page','userId':'u','timestamp':'2025-12-31T12:00:00.123999Z'}",
     "page user=u time=1767182400123 original=1767182400123"},
    {"{'type':'page','userId':'u','timestamp':'2025-12-31T12:00:00+02:00'}",
     "page user=u time=1767175200000 original=1767175200000"},
    {"{'type':'page','userId':'u','timestamp':'2025-12-31T12:00:00'}",
     "page user=u time=1767182400000 original=1767182400000"},
    {"{'type':'page','userId':'u','timestamp':'2025-12-31'}", "page user=u time=1767139200000 original=1767139200000"},
    {"{'type':'page','userId':'u','timestamp':1767100000}", "page user=u time=1767100000000 original=1767100000000"},
    {"{'type':'page','userId':'u','timestamp':1767100000.5}", "page user=u time=1767100000500 original=1767100000500"},
    {"{'type':'page','userId':'u','timestamp':1767100000123}", "page user=u time=1767100000123 original=1767100000123"},
    {"{'type':'page','userId':'u','timestamp':'1767100000'}", "page user=u time=1767100000000 original=1767100000000"},
    {"{'type':'page','userId':'u','timestamp':'1767100000123'}",
     "page user=u time=1767100000123 original=1767100000123"},
    {"{'type':'page','userId':'u','timestamp':null}", "page user=u"},
    {"{'type':'page','userId':'u','originalTimestamp':'2025-12-31T12:00:00Z'}",
     "page user=u time=1767182400000 original=1767182400000"},
    {"{'type':'page','userId':'u','original_timestamp':'2025-12-31T12:00:00Z'}",
     "page user=u time=1767182400000 original=1767182400000"},
    {"{'type':'page','userId':'u','timestamp':'2025-12-30T12:00:00Z','originalTimestamp':'2025-12-31T12:00:00Z'}",
     "page user=u time=1767096000000 original=1767096000000"},
    {"{'type':'page','userId':'u','timestamp':'2025-12-31T12:00:00Z','sentAt':'2025-12-31T12:00:05Z'}",
     "page user=u time=1767182400000 original=1767182400000 sent=1767182405000"},
    {"{'type':'page','userId':'u','timestamp':'2020-01-01T00:00:00Z'}",
     "page user=u time=1577836800000 original=1577836800000"},
    {"{'type':'page','userId':'u','timestamp':'yesterday'}", "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','timestamp':'2026-02-30T00:00:00Z'}",
     "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','timestamp':{}}", "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','timestamp':[]}", "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','timestamp':true}", "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','timestamp':''}", "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','timestamp':'20251231'}", "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','timestamp':'2025-13-01'}", "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','timestamp':1e300}", "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','timestamp':-1e30}", "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','timestamp':'0000-01-01'}", "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','originalTimestamp':'soon'}",
     "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'type':'page','userId':'u','timestamp':'2025-12-31','originalTimestamp':'soon'}",
     "page user=u time=1767139200000 original=1767139200000"},
    {"{'type':'page','userId':'u','sentAt':'soon'}", "timestamp_invalid: sentAt cannot be read as a time"},
    {"{'type':'page','userId':'u','sent_at':{}}", "timestamp_invalid: sentAt cannot be read as a time"},
};

static const struct decode_case beacon_times[] = {
    {"{'type':'page','userId':'u','timestamp':'2025-12-31T12:00:00Z','sentAt':'2025-12-31T12:00:05Z'}",
     "page user=u time=1767225595000 original=1767182400000 sent=1767182405000 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','timestamp':'2025-12-31T12:00:00Z'}",
     "page user=u time=1767182400000 original=1767182400000 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','sentAt':'2025-12-31T12:00:05Z'}",
     "page user=u sent=1767182405000 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','timestamp':'2020-01-01T00:00:00Z'}",
     "page user=u original=1577836800000 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','timestamp':'2020-01-01T00:00:00Z','sentAt':'2020-01-01T00:00:09Z'}",
     "page user=u time=1767225591000 original=1577836800000 sent=1577836809000 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','timestamp':'2026-01-01T00:10:00Z'}",
     "page user=u time=1767226200000 original=1767226200000 ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','timestamp':'2026-01-01T00:10:00.001Z'}",
     "page user=u original=1767226200001 ip=192.0.2.1 agent=UA"},
};

static const struct decode_case batches[] = {
    {"{'batch':[{'type':'page','userId':'u','timestamp':'2026-01-01T00:00:00Z'}],'sentAt':'2026-01-01T00:00:05Z'}",
     "page user=u time=1767225595000 original=1767225600000 sent=1767225605000 ip=192.0.2.1 agent=UA"},
    {"{'batch':[{'type':'page','userId':'u','timestamp':'2026-01-01T00:00:00Z'}],'sent_at':'2026-01-01T00:00:05Z'}",
     "page user=u time=1767225595000 original=1767225600000 sent=1767225605000 ip=192.0.2.1 agent=UA"},
    {"{'batch':[{'type':'page','userId':'u','timestamp':'2026-01-01T00:00:00Z','sentAt':'2026-01-01T00:00:01Z'}],'"
     "sentAt':'2026-01-01T00:00:05Z'}",
     "page user=u time=1767225599000 original=1767225600000 sent=1767225601000 ip=192.0.2.1 agent=UA"},
    {"{'batch':[{'type':'page','userId':'u','timestamp':'2026-01-01T00:00:00Z'}],'sentAt':'soon'}",
     "page user=u original=1767225600000 ip=192.0.2.1 agent=UA"},
    {"{'batch':[{'type':'page','userId':'u'}],'timestamp':'2025-01-01T00:00:00Z'}",
     "page user=u ip=192.0.2.1 agent=UA"},
    {"{'batch':[{'type':'page','userId':'u'}],'context':{'locale':'de','app':{'name':'A'}}}",
     "page user=u ip=192.0.2.1 agent=UA locale=de context={'locale':'de','app':{'name':'A'}}"},
    {"{'batch':[{'type':'page','userId':'u','context':{}}],'context':{'locale':'de','app':{'name':'A'}}}",
     "page user=u ip=192.0.2.1 agent=UA locale=de context={'locale':'de','app':{'name':'A'}}"},
    {"{'batch':[{'type':'page','userId':'u','context':[]}],'context':{'locale':'de','app':{'name':'A'}}}",
     "page user=u ip=192.0.2.1 agent=UA locale=de context={'locale':'de','app':{'name':'A'}}"},
    {"{'batch':[{'type':'page','userId':'u','context':{'locale':'en','x':1 "
     "}}],'context':{'locale':'de','app':{'name':'A'}}}",
     "page user=u ip=192.0.2.1 agent=UA locale=en context={'locale':'en','x':1 ,'app':{'name':'A'}}"},
    {"{'batch':[{'type':'page','userId':'u','context':{'locale':'en'}}],'context':{'locale':'de'}}",
     "page user=u ip=192.0.2.1 agent=UA locale=en context={'locale':'en'}"},
    {"{'batch':[{'type':'page','userId':'u','context':{'x':1}}],'context':{'locale':'de','q\\'':2}}",
     "page user=u ip=192.0.2.1 agent=UA locale=de context={'x':1,'locale':'de','q\\'':2}"},
    {"{'batch':[{'type':'page','userId':'u','context':{'x':1}}],'context':7}",
     "page user=u ip=192.0.2.1 agent=UA context={'x':1}"},
    {"{'batch':[{'type':'page','userId':'u','context':{'x':1}}],'context':{}}",
     "page user=u ip=192.0.2.1 agent=UA context={'x':1}"},
};

static const struct decode_case contexts[] = {
    {"{'type':'page','userId':'u','context':{'ip':'198.51.100.7','userAgent':'Mozilla','locale':'en-GB','library':{'"
     "name':'analytics.js','version':'next-1'}}}",
     "page user=u library=analytics.js version=next-1 ip=192.0.2.1 agent=Mozilla locale=en-GB "
     "context={'ip':'198.51.100.7','userAgent':'Mozilla','locale':'en-GB','library':{'name':'analytics.js','version':'"
     "next-1'}}"},
    {"{'type':'page','userId':'u','context':{'user_agent':'Mozilla'}}",
     "page user=u ip=192.0.2.1 agent=Mozilla context={'user_agent':'Mozilla'}"},
    {"{'type':'page','userId':'u','context':{'consent':{'categoryPreferences':{'ads':false}}}}",
     "page user=u consent={'ads':false} ip=192.0.2.1 agent=UA "
     "context={'consent':{'categoryPreferences':{'ads':false}}}"},
    {"{'type':'page','userId':'u','context':{'consent':'yes'}}",
     "page user=u ip=192.0.2.1 agent=UA context={'consent':'yes'}"},
    {"{'type':'page','userId':'u','context':[]}", "page user=u ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','context':[1]}", "value_invalid: context is no object"},
    {"{'type':'page','userId':'u','context':'x'}", "value_invalid: context is no object"},
    {"{'type':'page','userId':'u','context':null}", "page user=u ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'u','context':7}", "value_invalid: context is no object"},
    {"{'type':'page','userId':'u','context':{'page':{'url':'https://x/?a=1','path':'/','title':'T','referrer':'https://"
     "r/'}}}",
     "page user=u ip=192.0.2.1 agent=UA url=https://x/?a=1 path=/ title=T referrer=https://r/ "
     "context={'page':{'url':'https://x/?a=1','path':'/','title':'T','referrer':'https://r/'}}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://p/','title':'P'},'context':{'page':{'url':'https://c/"
     "','title':'C','path':'/c'}}}",
     "page user=u ip=192.0.2.1 agent=UA url=https://p/ path=/c title=P properties={'url':'https://p/','title':'P'} "
     "context={'page':{'url':'https://c/','title':'C','path':'/c'}}"},
    {"{'type':'page','userId':'u','context':{'page':'x','library':[],'locale':{}}}",
     "page user=u ip=192.0.2.1 agent=UA context={'page':'x','library':[],'locale':{}}"},
    {"{'type':'page','userId':'u','context':{'library':{'name':7,'version':1.2}}}",
     "page user=u library=7 version=1.2 ip=192.0.2.1 agent=UA context={'library':{'name':7,'version':1.2}}"},
};

static const struct decode_case server_contexts[] = {
    {"{'type':'page','userId':'u','context':{'ip':'198.51.100.7','userAgent':'Mozilla'}}",
     "page user=u ip=198.51.100.7 agent=Mozilla context={'ip':'198.51.100.7','userAgent':'Mozilla'}"},
    {"{'type':'page','userId':'u','context':{}}", "page user=u context={}"},
    {"{'type':'page','userId':'u','context':{'ip':{}}}", "page user=u context={'ip':{}}"},
};

static const struct decode_case campaigns[] = {
    {"{'type':'page','userId':'u','context':{'campaign':{'name':'spring','source':'news','medium':'mail','term':'t','"
     "content':'c'}}}",
     "page user=u campaign=spring utm_source=news medium=mail term=t content=c "
     "context={'campaign':{'name':'spring','source':'news','medium':'mail','term':'t','content':'c'}}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/"
     "?utm_campaign=spring&utm_source=news&utm_medium=mail&utm_term=t&utm_content=c'}}",
     "page user=u url=https://x/?utm_campaign=spring&utm_source=news&utm_medium=mail&utm_term=t&utm_content=c "
     "campaign=spring utm_source=news medium=mail term=t content=c "
     "properties={'url':'https://x/?utm_campaign=spring&utm_source=news&utm_medium=mail&utm_term=t&utm_content=c'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?utm_campaign=spring%20sale+now&x=1'}}",
     "page user=u url=https://x/?utm_campaign=spring%20sale+now&x=1 campaign=spring sale now "
     "properties={'url':'https://x/?utm_campaign=spring%20sale+now&x=1'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?utm_campaign=a&utm_campaign=b'}}",
     "page user=u url=https://x/?utm_campaign=a&utm_campaign=b campaign=a "
     "properties={'url':'https://x/?utm_campaign=a&utm_campaign=b'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?utm_campaign=&utm_source'}}",
     "page user=u url=https://x/?utm_campaign=&utm_source properties={'url':'https://x/?utm_campaign=&utm_source'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/#?utm_campaign=spa'}}",
     "page user=u url=https://x/#?utm_campaign=spa campaign=spa properties={'url':'https://x/#?utm_campaign=spa'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?a=1#utm_campaign=no&gclid=no'}}",
     "page user=u url=https://x/?a=1#utm_campaign=no&gclid=no "
     "properties={'url':'https://x/?a=1#utm_campaign=no&gclid=no'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?gclid=Cj0%2BK'}}",
     "page user=u url=https://x/?gclid=Cj0%2BK click=gclid=Cj0+K properties={'url':'https://x/?gclid=Cj0%2BK'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?fbclid=F&gclid=G'}}",
     "page user=u url=https://x/?fbclid=F&gclid=G click=fbclid=F properties={'url':'https://x/?fbclid=F&gclid=G'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?gclid=&msclkid=M'}}",
     "page user=u url=https://x/?gclid=&msclkid=M click=msclkid=M properties={'url':'https://x/?gclid=&msclkid=M'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?utm_id=7&GCLID=x'}}",
     "page user=u url=https://x/?utm_id=7&GCLID=x properties={'url':'https://x/?utm_id=7&GCLID=x'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?utm_campaign=%E5%A4%A9%zz%4'}}",
     "page user=u url=https://x/?utm_campaign=%E5%A4%A9%zz%4 campaign=天%zz%4 "
     "properties={'url':'https://x/?utm_campaign=%E5%A4%A9%zz%4'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?&&=&utm_campaign=x&'}}",
     "page user=u url=https://x/?&&=&utm_campaign=x& campaign=x properties={'url':'https://x/?&&=&utm_campaign=x&'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?'}}",
     "page user=u url=https://x/? properties={'url':'https://x/?'}"},
    {"{'type':'page','userId':'u','properties':{'url':'?utm_campaign=%3Chtml%3E'}}",
     "page user=u url=?utm_campaign=%3Chtml%3E campaign=<html> properties={'url':'?utm_campaign=%3Chtml%3E'}"},
    {"{'type':'page','userId':'u','context':{'campaign':{'source':'news'}},'properties':{'url':'https://x/"
     "?utm_campaign=y&gclid=G'}}",
     "page user=u url=https://x/?utm_campaign=y&gclid=G utm_source=news click=gclid=G "
     "properties={'url':'https://x/?utm_campaign=y&gclid=G'} context={'campaign':{'source':'news'}}"},
    {"{'type':'page','userId':'u','context':{'campaign':{}},'properties':{'url':'https://x/?utm_campaign=y'}}",
     "page user=u url=https://x/?utm_campaign=y campaign=y properties={'url':'https://x/?utm_campaign=y'} "
     "context={'campaign':{}}"},
};

static const struct decode_case extras[] = {
    {"{'type':'page','userId':'u','module':'banner','cameFrom':'/"
     "home','sharedBy':'u7','place':{'storeId':1,'storeName':'S','city':'C','district':'D','address':'A'}}",
     "page user=u shared_by=u7 module=banner came_from=/home store_id=1 store_name=S city=C district=D address=A"},
    {"{'type':'page','userId':'u','came_from':'/home','shared_by':'u7','place':{'store_id':'s','store_name':'S'}}",
     "page user=u shared_by=u7 came_from=/home store_id=s store_name=S"},
    {"{'type':'page','userId':'u','properties':{'module':'banner','cameFrom':'/"
     "home','sharedBy':'u7','place':{'city':'C'}}}",
     "page user=u shared_by=u7 module=banner came_from=/home city=C "
     "properties={'module':'banner','cameFrom':'/home','sharedBy':'u7','place':{'city':'C'}}"},
    {"{'type':'page','userId':'u','properties':{'came_from':'/home','shared_by':'u7'}}",
     "page user=u shared_by=u7 came_from=/home properties={'came_from':'/home','shared_by':'u7'}"},
    {"{'type':'page','userId':'u','module':'top','properties':{'module':'inner'}}",
     "page user=u module=top properties={'module':'inner'}"},
    {"{'type':'page','userId':'u','module':{'x':1},'properties':{'module':'inner'}}",
     "page user=u module=inner properties={'module':'inner'} extra={'module':{'x':1}}"},
    {"{'type':'page','userId':'u','module':'','sharedBy':''}", "page user=u"},
    {"{'type':'page','userId':'u','place':{'city':'C','geo':[1,2]}}",
     "page user=u city=C extra={'place':{'city':'C','geo':[1,2]}}"},
    {"{'type':'page','userId':'u','place':'Berlin'}", "page user=u extra={'place':'Berlin'}"},
    {"{'type':'page','userId':'u','place':{'city':['C']}}", "page user=u extra={'place':{'city':['C']}}"},
    {"{'type':'page','userId':'u','x':null,'y':[1,{'z':1e400}],'channel':'server','version':2,'integrations':{'All':"
     "false}}",
     "page user=u extra={'x':null,'y':[1,{'z':1e400}],'channel':'server','version':2,'integrations':{'All':false}}"},
    {"{'type':'page','userId':'u','integrations':{},'_metadata':{'retryCount':2},'writeKey':'wk','write_key':'wk','"
     "userHash':'h','sentAt':null}",
     "page user=u"},
    {"{'type':'page','userId':'u','a\\'b\\\\c\\u0001线\\u2028':1}", "page user=u extra={'a\\'b\\\\c\\u0001线 ':1}"},
    {"{'type':'page','userId':'u','traits':{'t':1}}", "page user=u extra={'traits':{'t':1}}"},
    {"{'type':'identify','userId':'u','properties':{'p':1}}", "identify user=u extra={'properties':{'p':1}}"},
    {"{'type':'page','userId':'u','':1}", "page user=u extra={'':1}"},
};

static void test_envelope(void **state)
{
    (void)state;
    CASES(shape, decode_event, CASE_ALONE, .trust = TRUST_BEACON);
    CASES(types, decode_event, CASE_ALONE, .trust = TRUST_BEACON);
    CASES(route_types, decode_event, CASE_ALONE, .route_type = EVENT_TRACK);
    CASES(ids, decode_event, CASE_ALONE, .trust = TRUST_BEACON);
    CASES(aliases, decode_event, CASE_ALONE, .trust = TRUST_BEACON);
    CASES(names, decode_event, CASE_ALONE, .trust = TRUST_BEACON);
}

static void test_times(void **state)
{
    (void)state;
    CASES(times, decode_event, CASE_ALONE, .trust = TRUST_SERVER);
    CASES(beacon_times, decode_event, CASE_ALONE, .trust = TRUST_BEACON);
}

static void test_context(void **state)
{
    (void)state;
    CASES(batches, decode_event, CASE_BATCH, .trust = TRUST_BEACON);
    CASES(contexts, decode_event, CASE_ALONE, .trust = TRUST_BEACON);
    CASES(server_contexts, decode_event, CASE_ALONE, .trust = TRUST_SERVER);
    CASES(campaigns, decode_event, CASE_ALONE, .trust = TRUST_SERVER);
}

static void test_extras(void **state)
{
    (void)state;
    CASES(extras, decode_event, CASE_ALONE, .trust = TRUST_SERVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_envelope), cmocka_unit_test(test_times),
                                       cmocka_unit_test(test_context), cmocka_unit_test(test_extras)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
