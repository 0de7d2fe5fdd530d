-- The tables, functions and views of the clickstream pipeline. create_schema.py applies this file, which
-- creates what is missing; the files of clickstream/storage/upgrades change the tables of earlier
-- versions. Each change needs a new version: a database of the version below is not changed.
-- PostgreSQL 14 or later; with the timescaledb extension, clickstream_events becomes a hypertable.
-- Columns with COLLATE "C" are compared and sorted by code point.

-- == Events: one row for each event, however often it was delivered =============================

CREATE TABLE IF NOT EXISTS clickstream_events (
    event_id          uuid        NOT NULL,
    event_time        timestamptz NOT NULL,
    event_type        text        NOT NULL,
    user_id           text        NOT NULL COLLATE "C",
    page_url          text        COLLATE "C",
    referrer          text        COLLATE "C",
    user_agent        text        COLLATE "C",
    ip_address        inet,
    device_type       text        COLLATE "C",
    country           text        COLLATE "C",
    city              text        COLLATE "C",
    success           boolean,
    product_id        text        COLLATE "C",
    product_category  text        COLLATE "C",
    price             numeric(14, 4),
    quantity          integer,
    order_id          text        COLLATE "C",
    search_query      text        COLLATE "C",
    element_id        text        COLLATE "C",
    viewport_size     text        COLLATE "C",
    article_id        text        COLLATE "C",
    article_category  text        COLLATE "C",
    visit_id          text        COLLATE "C",
    engaged_ms        integer,
    properties        jsonb,
    repaired          text[],
    stored_at         timestamptz NOT NULL DEFAULT now(),
    xid               xid8        NOT NULL DEFAULT pg_current_xact_id(),

    -- For deduplication and time ranges. A hypertable needs event_time in every unique key.
    CONSTRAINT clickstream_events_key UNIQUE (event_time, event_id)
);

-- For reading a visitor's events in a range of time: to refold them, or to show a session.
CREATE INDEX IF NOT EXISTS clickstream_events_visitor ON clickstream_events (user_id, event_time);
-- For the search indexer: the events stored after its checkpoint.
CREATE INDEX IF NOT EXISTS clickstream_events_xid ON clickstream_events (xid);
-- For the report: the few events that are an order line or have a repaired value.
CREATE INDEX IF NOT EXISTS clickstream_events_listed
    ON clickstream_events (event_time) WHERE event_type = 'purchase' OR repaired IS NOT NULL;

-- == Sessions: at every commit they follow from clickstream_events by the session rule ==========

CREATE TABLE IF NOT EXISTS session_metrics (
    session_id                uuid        PRIMARY KEY,
    user_id                   text        NOT NULL COLLATE "C",
    total_events              bigint      NOT NULL,
    event_type_counts         jsonb       NOT NULL,
    first_event_timestamp     timestamptz NOT NULL,
    last_event_timestamp      timestamptz NOT NULL,
    first_event_id            uuid        NOT NULL,
    last_event_id             uuid        NOT NULL,
    session_duration_minutes  double precision NOT NULL GENERATED ALWAYS AS
        (EXTRACT(EPOCH FROM last_event_timestamp - first_event_timestamp)::double precision / 60) STORED,
    unique_pages              jsonb       NOT NULL,
    unique_pages_count        integer     NOT NULL,
    landing_page              text        COLLATE "C",
    entry_referrer            text        COLLATE "C",
    exit_page                 text        COLLATE "C",
    -- Wider than numeric(20,4), so that no sum of valid prices can be too large for it.
    total_revenue             numeric(38, 4) NOT NULL,
    orders_count              bigint      NOT NULL,
    products_viewed           jsonb       NOT NULL,
    products_viewed_count     integer     NOT NULL,
    search_queries            jsonb       NOT NULL,
    referrers                 jsonb       NOT NULL,
    unique_referrers_count    integer     NOT NULL,
    user_agent                text        COLLATE "C",
    ip_address                inet,
    device_type               text        COLLATE "C",
    country                   text        COLLATE "C",
    is_bounce                 boolean     NOT NULL,
    engaged_seconds           numeric(20, 3),
    closed_at                 timestamptz,
    close_reason              text        CHECK (close_reason IN ('timeout', 'end_event')),
    xid                       xid8        NOT NULL DEFAULT pg_current_xact_id(),
    CHECK ((closed_at IS NULL) = (close_reason IS NULL)),
    CHECK ((first_event_timestamp, first_event_id) <= (last_event_timestamp, last_event_id))
) WITH (fillfactor = 70);                                 -- free space for HOT updates

-- For a visitor's sessions around a time. Updates stay HOT: an update never changes the start, as
-- another first event makes another session_id.
CREATE INDEX IF NOT EXISTS session_metrics_visitor
    ON session_metrics (user_id, first_event_timestamp, first_event_id);
-- For the report's time ranges and the latest sessions.
CREATE INDEX IF NOT EXISTS session_metrics_start ON session_metrics (first_event_timestamp);
-- For closing, which looks at open sessions only.
CREATE INDEX IF NOT EXISTS session_metrics_open
    ON session_metrics (first_event_timestamp) WHERE closed_at IS NULL;

-- == User agents: filled outside the transactions that store events =============================

CREATE TABLE IF NOT EXISTS user_agents (
    user_agent        text        NOT NULL COLLATE "C",
    browser           text,
    browser_version   text,
    os                text,
    os_version        text,
    device_type       text,
    is_bot            boolean     NOT NULL GENERATED ALWAYS AS (bot_reason IS NOT NULL) STORED,
    bot_reason        text,
    rules_version     text        NOT NULL,
    parsed_at         timestamptz NOT NULL DEFAULT now(),
    -- One row for each text. A B-tree index would refuse texts of more than 2,704 bytes.
    CONSTRAINT user_agents_key EXCLUDE USING hash (user_agent WITH =)
);

-- == Rejected records: they could not become an event ===========================================

CREATE TABLE IF NOT EXISTS rejected_events (
    topic             text        NOT NULL,
    topic_id          text        NOT NULL,
    partition         integer     NOT NULL,
    "offset"          bigint      NOT NULL,
    reason            text        NOT NULL,
    detail            text        NOT NULL,
    key               bytea,
    value             bytea,
    record_timestamp  timestamptz,
    rejected_at       timestamptz NOT NULL DEFAULT now(),
    derived_event_id  uuid,
    -- One row for each record, however often it was delivered.
    PRIMARY KEY (topic_id, partition, "offset")
);

-- For listing by reason.
CREATE INDEX IF NOT EXISTS rejected_events_reason ON rejected_events (reason);

-- == Positions: they move in the transaction that stores the records before them ================

CREATE TABLE IF NOT EXISTS stream_positions (
    topic             text        NOT NULL,
    partition         integer     NOT NULL,
    topic_id          text        NOT NULL,
    position          bigint      NOT NULL DEFAULT 0,
    epoch             bigint      NOT NULL DEFAULT 0,
    cluster_id        text,
    group_id          text,
    owner             text,
    owner_pid         integer,
    owner_start       timestamptz,
    member_id         text,
    watermark         timestamptz,
    watermark_at      timestamptz,
    last_record_at    timestamptz,
    caught_up_at      timestamptz,
    records           bigint      NOT NULL DEFAULT 0,
    duplicates        bigint      NOT NULL DEFAULT 0,
    late              bigint      NOT NULL DEFAULT 0,
    rejected          bigint      NOT NULL DEFAULT 0,
    removed           bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
);

-- == The session rule that session_metrics follows ==============================================

CREATE TABLE IF NOT EXISTS session_rule (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    timeout_seconds   integer     NOT NULL CHECK (timeout_seconds > 0),
    start_events      text[]      NOT NULL,
    end_events        text[]      NOT NULL,
    version           bigint      NOT NULL,
    metrics_version   integer     NOT NULL DEFAULT 1
);

-- == The reading: how records become events =====================================================

CREATE TABLE IF NOT EXISTS record_reading (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    event_fields      text        NOT NULL,
    event_types       text        NOT NULL,
    min_event_time    timestamptz NOT NULL,
    -- Fields whose names changed after records had been read.
    renamed_fields    text[]      NOT NULL DEFAULT '{}',
    ip_addresses      text        NOT NULL DEFAULT 'full'
);

-- == Retention: the time from which events are kept =============================================

-- No row: all events are kept.
CREATE TABLE IF NOT EXISTS event_retention (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    kept_from         timestamptz NOT NULL,
    -- At least one session timeout earlier, so that no event that is accepted could belong to a
    -- session that was removed.
    removed_before    timestamptz NOT NULL,
    CHECK (removed_before <= kept_from)
);

-- == Erased visitors: nothing of them is stored any more ========================================

-- The keys of the hashes, mostly one.
CREATE TABLE IF NOT EXISTS erasure_keys (
    key               bytea       PRIMARY KEY,
    created_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS erased_visitors (
    visitor_hash      bytea       PRIMARY KEY CHECK (octet_length(visitor_hash) = 32),
    erased_at         timestamptz NOT NULL DEFAULT now()
);

-- == Settings of the views: stored, so that they give every client the same days ===============

CREATE TABLE IF NOT EXISTS report_settings (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    time_zone         text        NOT NULL
);

INSERT INTO report_settings (time_zone) VALUES ('UTC') ON CONFLICT DO NOTHING;

-- == Search: the change log, the indexer's checkpoint and the documents that OpenSearch refused =

-- The change log: the indexer indexes these sessions and their events again.
CREATE TABLE IF NOT EXISTS session_changes (
    xid               xid8        NOT NULL DEFAULT pg_current_xact_id(),
    user_id           text        NOT NULL COLLATE "C",
    from_time         timestamptz NOT NULL,
    to_time           timestamptz NOT NULL,
    regrouped         boolean     NOT NULL DEFAULT true,
    removed           uuid[]      NOT NULL DEFAULT '{}',
    removed_events    text[]      NOT NULL DEFAULT '{}',
    changed_at        timestamptz NOT NULL DEFAULT now()
);

-- For reading and pruning by transaction.
CREATE INDEX IF NOT EXISTS session_changes_xid ON session_changes (xid);

-- The checkpoint of the search indexer.
CREATE TABLE IF NOT EXISTS search_cursor (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    horizon           xid8        NOT NULL,
    token             text        NOT NULL,
    system_identifier text        NOT NULL,
    moved_at          timestamptz NOT NULL DEFAULT now(),
    -- Key of the last event that the backfill indexed, in the order of the keys; NULL when it is finished.
    filled_time       timestamptz,
    filled_id         uuid,
    announced         bigint
);

CREATE TABLE IF NOT EXISTS search_refused_documents (
    index_name        text        NOT NULL,
    document_id       text        NOT NULL,
    status            integer     NOT NULL,
    reason            text        NOT NULL,
    refused_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (index_name, document_id)
);

-- == Settings of the views of sources, which you may change ======================================

CREATE TABLE IF NOT EXISTS source_categories (
    source            text        PRIMARY KEY COLLATE "C" CHECK (source = lower(source)),
    category          text        NOT NULL COLLATE "C" CHECK (
        category IN ('search', 'social', 'shopping', 'video', 'ai_assistant', 'other')),
    name              text        COLLATE "C"
);

CREATE TABLE IF NOT EXISTS site_hosts (
    host              text        PRIMARY KEY COLLATE "C" CHECK (host ~ '^[a-z0-9._-]+$')
);

CREATE TABLE IF NOT EXISTS conversion_events (
    event_type        text        PRIMARY KEY COLLATE "C"
);

-- == Rows of source_categories and conversion_events ============================================
-- Well-known sites of the list that Google publishes for GA4's default channel groups (Analytics
-- Help, answer 9756891; November 2026), and others of the same kinds. Rows that exist stay as they
-- are.

-- The source of a search engine is its name: google for www.google.de.
INSERT INTO source_categories (source, category, name)
VALUES ('ya.ru', 'search', 'yandex'), ('google shopping', 'shopping', NULL),
       ('com.google.android.googlequicksearchbox', 'search', 'google')
ON CONFLICT DO NOTHING;
INSERT INTO source_categories (source, category, name)
SELECT source, 'search', substring(source FROM '([^.]+)(?:\.(?:com?\.|ne\.)?[^.]+)?$')
FROM regexp_split_to_table(trim(E'\n ' FROM '
    google.* google news.google.com lens.google.com search.google.com play.google.com bing.com bing
    search.yahoo.com search.yahoo.co.jp yahoo.* yahoo yandex.* yandex duckduckgo.com duckduckgo
    baidu.com baidu ecosia.org ecosia qwant.com qwant startpage.com startpage search.brave.com brave
    ask.com ask search.aol.com search.aol.co.uk suche.aol.de aol.* aol msn.com msn naver.com naver
    daum.net daum sogou.com sogou so.com 360.cn haosou.com seznam.cz seznam centrum.cz firmy.cz
    search.rakuten.co.jp websearch.rakuten.co.jp goo.ne.jp auone.jp auone biglobe.ne.jp
    biglobe.co.jp biglobe search.smt.docomo.ne.jp nifty.com excite.com excite.co.jp rambler.ru
    rambler go.mail.ru search.mail.ru onet.pl onet virgilio.it virgilio libero.it tiscali.it terra
    terra.com.br globo globo.com busca.uol.com.br ukr.net ukr meta.ua startsiden.no startsiden
    abcsok.no kvasir.no kvasir eniro.se eniro sesam.no dogpile.com dogpile metacrawler.com
    webcrawler.com lycos.com lycos info.com mywebsearch.com search.com search-results.com
    search.xfinity.com comcast conduit.com conduit incredimail.com babylon.com babylon avg.com avg
    search.avast.com alice.it alice mojeek.com mojeek swisscows.com
    swisscows metager.de metager metager.org searx.be searxng.org kagi.com kagi presearch.com
    presearch.org marginalia.nu stract.com gibiru.com searchencrypt.com lukol.com
    oscobo.com entireweb.com searchlock.com lilo.org ekoru.org givero.com karmasearch.org
    oceanhero.today ocean.hero gexsi.com coccoc.com coccoc petalsearch.com petalsearch yep.com yep
    izito.com zapmeta.com teoma.com hotbot.com hotbot t-online.de
    suche.web.de suche.gmx.net fireball.de search.ch sapo.pt najdi.si najdi zoznam.sk atlas.cz
    walla.co.il parseek.com yooz.ir zarebin.ir sputnik.ru aport.ru nigma.ru tut.by all.by bigmir.net
    yamli.com sm.cn toutiao.com youdao.com chinaso.com zhongsou.com zum.com nate.com google-play
    images.google.com
'), '\s+') AS source
ON CONFLICT DO NOTHING;

INSERT INTO source_categories (source, category)
SELECT source, 'social'
FROM regexp_split_to_table(trim(E'\n ' FROM '
    facebook.com facebook fb fb.me fb.com messenger.com messenger com.facebook.katana instagram.com
    instagram ig com.instagram.android threads.net threads.com threads whatsapp.com whatsapp wa.me
    com.whatsapp x.com t.co twitter.com twitter com.twitter.android tweetdeck.com tweetdeck
    linkedin.com linkedin lnkd.in com.linkedin.android pinterest.* pinterest pin.it com.pinterest
    reddit.com reddit redd.it com.reddit.frontpage tiktok.com tiktok douyin.com douyin snapchat.com
    snapchat com.snapchat.android tumblr.com tumblr quora.com quora medium.com t.me telegram.org
    telegram telegram.me org.telegram.messenger discord.com discord discord.gg discordapp.com
    slack.com slack com.slack teams.microsoft.com viber.com viber signal.org skype.com skype line.me
    line kakao.com kakao kakaocorp.com zalo.me zalo wechat.com wechat weixin.qq.com qzone.qq.com
    weibo.com weibo weibo.cn t.cn xiaohongshu.com xiaohongshu xhslink.com zhihu.com zhihu douban.com
    douban renren.com renren tieba.baidu.com tencent.com tencent vk.com vk vk.ru vkontakte
    vkontakte.ru ok.ru odnoklassniki.ru odnoklassniki my.mail.ru livejournal.com livejournal dzen.ru
    zen.yandex.ru pikabu.ru habr.com draugiem.lv mastodon.social mastodon mastodon.online
    mstdn.social mstdn.jp fosstodon.org hachyderm.io infosec.exchange bsky.app bluesky bsky.social
    gab.com gettr.com truthsocial.com parler.com minds.com mewe.com nextdoor.com nextdoor
    clubhouse.com bereal.com lemon8-app.com xing.com xing viadeo.com academia.edu researchgate.net
    github.com gitlab.com stackoverflow.com stackoverflow stackexchange.com stackexchange
    serverfault.com serverfault superuser.com superuser askubuntu.com askubuntu stackapps.com dev.to
    hashnode.com lobste.rs news.ycombinator.com hackernews producthunt.com producthunt
    indiehackers.com slashdot.org digg.com digg fark.com fark techmeme.com techmeme meneame.net
    menea.me taringa.net ask.fm ello.co flickr.com flickr 500px.com unsplash.com behance.net
    dribbble.com deviantart.com deviantart artstation.com pixiv.net imgur.com imgur 9gag.com
    giphy.com photobucket.com photobucket imageshack.com weheartit.com polyvore.com houzz.com houzz
    vsco.co blogger.com blogger blogspot.com blogspot wordpress.com wordpress typepad.com typepad
    substack.com ghost.io weebly.com weebly livedoor.com ameblo.jp ameba.jp hatena.ne.jp hatena
    note.com fc2.com fc2 exblog.jp cocolog-nifty.com mixi.jp gree.jp plurk.com plurk pixnet.net
    5ch.net 2ch.sc okwave.jp chiebukuro.yahoo.co.jp blog.naver.com cafe.naver.com kin.naver.com
    band.us kakaostory.com cyworld.com dcinside.com theqoo.net clien.net over-blog.com canalblog.com
    skyrock.com skyrock centerblog.net unblog.fr copainsdavant.linternaute.com badoo.com badoo
    tagged.com tagged hi5.com hi5 myspace.com myspace meetup.com meetup couchsurfing.com
    internations.org interpals.net italki.com foursquare.com foursquare swarmapp.com yelp.com yelp
    yelp.co.uk tripadvisor.* tripadvisor trustpilot.com trustpilot glassdoor.com glassdoor
    ravelry.com ravelry goodreads.com goodreads librarything.com wattpad.com wattpad scribd.com
    slideshare.net last.fm soundcloud.com bandcamp.com reverbnation.com mubi.com letterboxd.com
    filmaffinity.com myanimelist.net crunchyroll.com fandom.com wikihow.com instructables.com
    allrecipes.com epicurious.com strava.com allnurses.com cafemom.com care2.com classmates.com
    ancestry.com geni.com myheritage.com caringbridge.org patreon.com ko-fi.com buymeacoffee.com
    linktr.ee linktree bio.link beacons.ai flipboard.com flipboard getpocket.com instapaper.com
    instapaper feedly.com pinboard.in diigo.com diigo scoop.it paper.li smartnews.com newsbreak.com
    mix.com disqus.com disqus hootsuite.com hootsuite buffer.com bufferapp.com later.com
    sharethis.com addthis.com bit.ly ow.ly buff.ly is.gd tinyurl.com tinyurl goo.gl dlvr.it lnk.bio
    groups.google.com googlegroups.com messages.google.com sites.google.com groups.io workplace.com
    yammer.com yammer gutefrage.net wer-weiss-was.de suomi24.fi partyflock.nl tuenti.com jappy.de
    studivz.net nk.pl wykop.pl goldenline.pl hubpages.com buzzfeed.com secondlife.com imvu.com
    habbo.com gaiaonline.com stardoll.com steamcommunity.com sharechat.com kooapp.com tapatalk.com
    xanga.com livedoorblog social pinterest.com
'), '\s+') AS source
ON CONFLICT DO NOTHING;

INSERT INTO source_categories (source, category)
SELECT source, 'shopping'
FROM regexp_split_to_table(trim(E'\n ' FROM '
    amazon.* amazon smile.amazon.com amazon-adsystem.com amzn.to ebay.* ebay ebay.us etsy.com etsy
    alibaba.com alibaba aliexpress.com aliexpress aliexpress.ru aliexpress.us 1688.com taobao.com
    taobao tmall.com tmall jd.com jd pinduoduo.com yangkeduo.com temu.com temu shein.com shein
    shein.co.uk wish.com wish dhgate.com banggood.com lightinthebox.com walmart.com
    walmart walmart.ca target.com target costco.com bestbuy.com homedepot.com lowes.com wayfair.com
    overstock.com newegg.com macys.com kohls.com nordstrom.com sears.com kroger.com samsclub.com
    bhphotovideo.com zappos.com qvc.com hsn.com chewy.com shopify.com shopify shop.app stripe.com
    stripe googleshopping google-shopping shopping.google.com igshopping shopping.yahoo.com
    shopping.yahoo.co.jp paypaymall.yahoo.co.jp shopping.naver.com smartstore.naver.com
    rakuten.co.jp rakuten.com rakuten.de rakuten.fr kakaku.com mercari.com mercari zozo.jp
    yodobashi.com coupang.com coupang gmarket.co.kr 11st.co.kr auction.co.kr wemakeprice.com
    tmon.co.kr lazada.* lazada shopee.* shopee tokopedia.com bukalapak.com blibli.com tiki.vn
    sendo.vn momoshop.com.tw ruten.com.tw pchome.com.tw flipkart.com flipkart myntra.com ajio.com
    meesho.com snapdeal.com nykaa.com indiamart.com daraz.pk daraz.com.bd noon.com jumia.* jumia
    takealot.com konga.com trendyol.com trendyol hepsiburada.com n11.com 
    sahibinden.com digikala.com mercadolibre.* mercadolibre mercadolivre.com.br mercadolivre
    americanas.com.br magazineluiza.com.br casasbahia.com.br olx.* olx linio.com falabella.com
    ripley.cl coppel.com liverpool.com.mx buscape.com.br zoom.com.br ozon.ru ozon wildberries.ru
    wildberries market.yandex.ru avito.ru sbermegamarket.ru lamoda.ru rozetka.com.ua prom.ua
    hotline.ua kaspi.kz allegro.pl allegro ceneo.pl empik.com skapiec.pl heureka.cz heureka.sk
    zbozi.cz alza.cz mall.cz emag.ro emag.hu emag.bg arukereso.hu compari.ro skroutz.gr bestprice.gr
    idealo.* idealo billiger.de billiger geizhals.de geizhals.at geizhals.eu guenstiger.de
    preisvergleich.de check24.de ladenzeile.de otto.de zalando.* zalando kaufland.de mediamarkt.de
    aboutyou.de kleinanzeigen.de willhaben.at galaxus.* galaxus toppreise.ch ricardo.ch digitec.ch
    bol.com bol marktplaats.nl 2dehands.be coolblue.nl beslist.nl tweakers.net kieskeurig.nl
    vergelijk.nl cdiscount.com cdiscount fnac.com darty.com leboncoin.fr laredoute.fr manomano.*
    manomano vinted.* vinted backmarket.* backmarket leguide.com pricerunner.* pricerunner
    pricespy.co.uk prisjakt.no prisjakt.nu prisguiden.no kelkoo.* kelkoo shopzilla.com shopzilla
    bizrate.com pricegrabber.com shopping.com shopping.net nextag.com become.com trovaprezzi.it
    eprice.it subito.it elcorteingles.es pccomponentes.com kuantokusta.pt worten.pt argos.co.uk
    johnlewis.com asos.com very.co.uk currys.co.uk tesco.com gumtree.com onbuy.com catch.com.au
    kogan.com trademe.co.nz finn.no blocket.se tradera.com cdon.* cdon elkjop.no komplett.no dba.dk
    tori.fi reverb.com poshmark.com depop.com stockx.com farfetch.com ssense.com slickdeals.net
    mydealz.de hotukdeals.com pepper.pl dealabs.com ozbargain.com.au retailmenot.com honey.com
    joinhoney.com groupon.* groupon simplycodes.com couponfollow.com
'), '\s+') AS source
ON CONFLICT DO NOTHING;

INSERT INTO source_categories (source, category)
SELECT source, 'video'
FROM regexp_split_to_table(trim(E'\n ' FROM '
    youtube.com youtube yt youtu.be com.google.android.youtube youtube-nocookie.com vimeo.com vimeo
    dailymotion.com dailymotion dai.ly twitch.tv twitch kick.com netflix.com netflix hulu.com hulu
    disneyplus.com disneyplus primevideo.com max.com hbomax.com peacocktv.com paramountplus.com
    crackle.com crackle tubitv.com pluto.tv curiositystream.com curiositystream nebula.tv ted.com
    ted wistia.com wistia fast.wistia.net vidyard.com loom.com brightcove.com jwplayer.com
    kaltura.com vzaar.com sproutvideo.com bilibili.com bilibili b23.tv iqiyi.com iqiyi iq.com
    youku.com youku tudou.com v.qq.com mgtv.com le.com pptv.com sohu.com ixigua.com kuaishou.com
    nicovideo.jp niconico nico.ms abema.tv gyao.yahoo.co.jp tver.jp openrec.tv afreecatv.com
    sooplive.co.kr tv.naver.com chzzk.naver.com tv.kakao.com rutube.ru rutube vkvideo.ru ivi.ru
    okko.tv kinopoisk.ru smotrim.ru rumble.com rumble bitchute.com bitchute odysee.com odysee d.tube
    dtube lbry.tv utreon.com utreon playeur.com floatplane.com veoh.com veoh metacafe.com
    break.com funnyordie.com streamable.com coub.com vlive.tv aparat.com namasha.com
    hotstar.com jiocinema.com sonyliv.com zee5.com mxplayer.in viki.com wetv.vip viu.com
    iflix.com vidio.com globoplay.globo.com arte.tv ardmediathek.de zdf.de joyn.de rtlplus.com
    myvideo.ge tf1.fr 6play.fr france.tv raiplay.it mediasetinfinity.mediaset.it rtve.es itv.com
    channel4.com my5.tv svtplay.se tv4play.se viaplay.com nrk.no tv2.no dr.dk areena.yle.fi
    dplay.com discoveryplus.com livestream.com ustream.tv dlive.tv trovo.live caffeine.tv
    vimeopro.com peertube.tv framatube.org joinpeertube.org triller.co likee.video
    viadeo.journaldunet.com
'), '\s+') AS source
ON CONFLICT DO NOTHING;

-- Google publishes no list of the assistants that GA4 recognizes.
INSERT INTO source_categories (source, category)
SELECT source, 'ai_assistant'
FROM regexp_split_to_table(trim(E'\n ' FROM '
    chatgpt.com chatgpt chat.openai.com openai com.openai.chatgpt gemini.google.com gemini
    bard.google.com com.google.android.apps.bard claude.ai claude copilot.microsoft.com copilot
    copilot.com perplexity.ai perplexity ai.perplexity.app.android grok.com grok x.ai deepseek.com
    deepseek meta.ai mistral.ai mistral lechat poe.com you.com phind.com pi.ai duck.ai kimi.com
    kimi.moonshot.cn doubao.com yuanbao.tencent.com tongyi.com qwen.ai chatglm.cn
    notebooklm.google.com character.ai iask.ai andisearch.com felo.ai genspark.ai manus.im giga.chat
    alice.yandex.ru
'), '\s+') AS source
ON CONFLICT DO NOTHING;

INSERT INTO conversion_events (event_type)
SELECT 'purchase' WHERE NOT EXISTS (SELECT FROM conversion_events)
ON CONFLICT DO NOTHING;

-- == Version of this file =======================================================================

CREATE TABLE IF NOT EXISTS schema_version (
    version           integer     PRIMARY KEY,
    applied_at        timestamptz NOT NULL DEFAULT now()
);

INSERT INTO schema_version (version) VALUES (6) ON CONFLICT DO NOTHING;

-- == Functions of the views =====================================================================

-- The path of an address: without scheme and host, query and fragment.
CREATE OR REPLACE FUNCTION page_path(page_url text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN page_url IS NOT NULL THEN coalesce(nullif(split_part(split_part(
    regexp_replace(page_url, '^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*', ''),
    '?', 1), '#', 1), ''), '/') END;

-- The days or weeks from the first event to the last one. Views join the rows of each of them by a range
-- of time, so that a filter of a view by its day reads only that part of an index.
CREATE OR REPLACE FUNCTION report_periods(unit text)
RETURNS TABLE (first_day date, starts timestamptz, ends timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT local::date, local AT TIME ZONE time_zone, (local + step) AT TIME ZONE time_zone
    FROM report_settings,
         (SELECT min(event_time) AS first, max(event_time) AS last FROM clickstream_events) AS ends,
         (VALUES (CASE unit WHEN 'week' THEN interval '7 days' ELSE interval '1 day' END)) AS s (step),
         generate_series(date_trunc(unit, first AT TIME ZONE time_zone),
                         last AT TIME ZONE time_zone, step) AS local;
END;

-- == Functions for addresses: never an error, whatever the text =================================

-- scheme://host:port of an address, in lower case and without a user's name; NULL without a host.
CREATE OR REPLACE FUNCTION url_origin(url text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(regexp_replace(
    substring(url FROM '^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+'), '//.*@', '//') COLLATE "C");

CREATE OR REPLACE FUNCTION url_host(url text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(btrim(substring(url_origin(url) FROM '//(\[.*\]|[^:]*)'), '[]'), '');

-- Text of a query: + is a blank, and %C3%BC is ü. An escape that is not UTF-8 stays as it is, and
-- so does %00, because a text has no NUL.
CREATE OR REPLACE FUNCTION url_decoded(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
BEGIN
    IF value !~ '[%+]' THEN
        RETURN value;
    END IF;
    RETURN (
        SELECT string_agg(
            CASE WHEN length(part[1]) > 1 AND starts_with(part[1], '%')
                 THEN convert_from(decode(replace(part[1], '%', ''), 'hex'), 'UTF8')
                 ELSE part[1] END, '' ORDER BY number)
        FROM regexp_matches(replace(value, '+', ' '), '(?x)
            (?: %0[1-9A-Fa-f] | %[1-7][0-9A-Fa-f]
              | %[Cc][2-9A-Fa-f]              %[89ABab][0-9A-Fa-f]
              | %[Dd][0-9A-Fa-f]              %[89ABab][0-9A-Fa-f]
              | %[Ee]0 %[ABab][0-9A-Fa-f]     %[89ABab][0-9A-Fa-f]
              | %[Ee][Dd] %[89][0-9A-Fa-f]    %[89ABab][0-9A-Fa-f]
              | %[Ee][1-9A-CEFa-cef]       (?:%[89ABab][0-9A-Fa-f]){2}
              | %[Ff]0 %[9ABab][0-9A-Fa-f] (?:%[89ABab][0-9A-Fa-f]){2}
              | %[Ff][1-3]                 (?:%[89ABab][0-9A-Fa-f]){3}
              | %[Ff]4 %8[0-9A-Fa-f]       (?:%[89ABab][0-9A-Fa-f]){2}
            )+ | [^%]+ | %', 'g')
            WITH ORDINALITY AS parts (part, number));
END
$$;

-- The first value of a parameter of an address, decoded; NULL if it is absent or empty. Names are
-- compared as they are, and a fragment has no parameters.
CREATE OR REPLACE FUNCTION url_parameter(url text, name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN strpos(url, name || '=') > 0 THEN url_decoded(nullif(split_part(
    split_part('&' || substring(split_part(url, '#', 1) FROM '\?(.*)'), '&' || name || '=', 2),
    '&', 1), '')) END;

-- The entries of source_categories and site_hosts that a host matches: the host itself, its parent
-- domains (of two to four labels), and name.* if it is that name under any country's domain.
CREATE OR REPLACE FUNCTION source_keys(source text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY[
    source,
    substring(source FROM '[^.]+\.[^.]+$'),
    substring(source FROM '[^.]+\.[^.]+\.[^.]+$'),
    substring(source FROM '[^.]+\.[^.]+\.[^.]+\.[^.]+$'),
    substring(source FROM '^(?:(?:www|m)\.)?([^.]+)\.(?:com?\.)?[^.]+$') || '.*'];

-- True if two hosts are equal or one is a subdomain of the other; www. does not count.
CREATE OR REPLACE FUNCTION is_same_site(host text, other_host text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN right('.' || host, length(regexp_replace(other_host, '^www\.', '')) + 1)
       = '.' || regexp_replace(other_host, '^www\.', '')
    OR right('.' || other_host, length(regexp_replace(host, '^www\.', '')) + 1)
       = '.' || regexp_replace(host, '^www\.', '');

-- GA4's default channel group, by the rules and in the order of Google's table (Analytics Help,
-- answer 9756891; November 2026). As in these rules, upper and lower case are the same.
CREATE OR REPLACE FUNCTION default_channel_group(
    source text, medium text, campaign text, source_category text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN s = '(direct)' AND m IN ('(not set)', '(none)') THEN 'Direct'
        WHEN c LIKE '%cross-network%' THEN 'Cross-network'
        WHEN (source_category = 'shopping' OR is_shopping) AND is_paid THEN 'Paid Shopping'
        WHEN source_category = 'search' AND is_paid THEN 'Paid Search'
        WHEN source_category = 'social' AND is_paid THEN 'Paid Social'
        WHEN source_category = 'video' AND is_paid THEN 'Paid Video'
        WHEN m IN ('display', 'banner', 'expandable', 'interstitial', 'cpm') THEN 'Display'
        WHEN is_paid THEN 'Paid Other'
        WHEN source_category = 'shopping' OR is_shopping THEN 'Organic Shopping'
        WHEN source_category = 'social'
          OR m IN ('social', 'social-network', 'social-media', 'sm', 'social network',
                   'social media') THEN 'Organic Social'
        WHEN source_category = 'video' OR m ~ '^(.*video.*)$' THEN 'Organic Video'
        WHEN source_category = 'search' OR m = 'organic' THEN 'Organic Search'
        WHEN source_category = 'ai_assistant' OR m = 'ai-assistant' THEN 'AI Assistant'
        WHEN m IN ('referral', 'app', 'link') THEN 'Referral'
        WHEN s IN ('email', 'e-mail', 'e_mail', 'e mail')
          OR m IN ('email', 'e-mail', 'e_mail', 'e mail') THEN 'Email'
        WHEN m = 'affiliate' THEN 'Affiliates'
        WHEN m = 'audio' THEN 'Audio'
        WHEN s = 'sms' OR m = 'sms' THEN 'SMS'
        WHEN m LIKE '%push' OR m LIKE '%mobile%' OR m LIKE '%notification%' OR s = 'firebase'
            THEN 'Mobile Push Notifications'
        ELSE 'Unassigned'
    END
    FROM (SELECT lower(source COLLATE "C") AS s, lower(medium COLLATE "C") AS m,
                 lower(campaign COLLATE "C") AS c) AS lowered
    CROSS JOIN LATERAL (
        SELECT m ~ '^(.*cp.*|ppc|retargeting|paid.*)$' AS is_paid,
               c ~ '^(.*(([^a-df-z]|^)shop|shopping).*)$' AS is_shopping) AS matched;
END;

-- == Views for people ===========================================================================

-- A session is an interval of (event_time, event_id), as event times can be equal.
CREATE OR REPLACE VIEW events_with_session AS
SELECT e.event_id, e.event_time, e.event_type, e.user_id, e.page_url,
       page_path(e.page_url) AS page_path, e.referrer, e.user_agent, e.ip_address, e.device_type,
       e.country, e.city, e.success, e.product_id, e.product_category, e.price, e.quantity,
       e.order_id, e.search_query, e.element_id, e.viewport_size, e.article_id, e.article_category,
       e.visit_id, e.properties, e.repaired, e.stored_at, s.session_id, e.engaged_ms
FROM clickstream_events e
JOIN session_metrics s
  ON s.user_id = e.user_id
 AND s.first_event_timestamp <= e.event_time
 AND s.last_event_timestamp >= e.event_time
 AND (e.event_time, e.event_id) BETWEEN (s.first_event_timestamp, s.first_event_id)
                                    AND (s.last_event_timestamp, s.last_event_id);

CREATE OR REPLACE VIEW open_sessions AS
SELECT session_id, user_id, first_event_timestamp, last_event_timestamp,
       session_duration_minutes, total_events, total_revenue, landing_page, exit_page,
       page_path(landing_page) AS landing_path, page_path(exit_page) AS exit_path
FROM session_metrics
WHERE closed_at IS NULL;

CREATE OR REPLACE VIEW latest_sessions AS
SELECT session_id, user_id, first_event_timestamp, last_event_timestamp,
       session_duration_minutes, total_events, orders_count, total_revenue, is_bounce,
       landing_page, page_path(landing_page) AS landing_path,
       exit_page, page_path(exit_page) AS exit_path, device_type, country, closed_at
FROM session_metrics
ORDER BY first_event_timestamp DESC;

CREATE OR REPLACE VIEW conversion_funnel AS
SELECT step, event_type, sessions,
       round(100.0 * sessions / nullif(max(sessions) OVER (), 0), 2) AS percent_of_largest
FROM (
    SELECT step, event_type, count(session_id) AS sessions
    FROM (VALUES (1, 'page_view'), (2, 'add_to_cart'), (3, 'purchase')) AS steps (step, event_type)
    LEFT JOIN session_metrics ON event_type_counts ? event_type
    GROUP BY step, event_type
) AS counted
ORDER BY step;

CREATE OR REPLACE VIEW funnel_by_day AS
SELECT first_day AS day, step, event_type, sessions,
       round(100.0 * sessions / nullif(greatest(page_view, add_to_cart, purchase), 0), 2)
           AS percent_of_largest
FROM report_periods('day')
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE event_type_counts ? 'page_view') AS page_view,
           count(*) FILTER (WHERE event_type_counts ? 'add_to_cart') AS add_to_cart,
           count(*) FILTER (WHERE event_type_counts ? 'purchase') AS purchase
    FROM session_metrics
    WHERE first_event_timestamp >= starts AND first_event_timestamp < ends
    HAVING count(*) > 0
) AS counted
CROSS JOIN LATERAL (
    VALUES (1, 'page_view', page_view), (2, 'add_to_cart', add_to_cart), (3, 'purchase', purchase)
) AS steps (step, event_type, sessions)
ORDER BY first_day, step;

CREATE OR REPLACE VIEW hourly_traffic AS
SELECT hour, events, visitors, revenue
FROM report_periods('day')
CROSS JOIN LATERAL generate_series(starts, ends - interval '1 hour', interval '1 hour') AS hour
CROSS JOIN LATERAL (
    SELECT count(*) AS events,
           count(DISTINCT user_id) AS visitors,
           coalesce(sum(price * coalesce(quantity, 1)) FILTER (WHERE event_type = 'purchase'), 0)
               AS revenue
    FROM clickstream_events
    WHERE event_time >= hour AND event_time < hour + interval '1 hour'
    HAVING count(*) > 0
) AS counted
ORDER BY hour;

CREATE OR REPLACE VIEW daily_traffic AS
SELECT first_day AS day, visitors, sessions, events, orders, revenue, bounce_percent,
       conversion_percent
FROM report_periods('day')
CROSS JOIN LATERAL (
    SELECT count(DISTINCT user_id) AS visitors,
           count(*) AS sessions,
           sum(total_events)::bigint AS events,
           sum(orders_count)::bigint AS orders,
           sum(total_revenue) AS revenue,
           round(100.0 * count(*) FILTER (WHERE is_bounce) / count(*), 2) AS bounce_percent,
           round(100.0 * count(*) FILTER (WHERE orders_count > 0) / count(*), 2)
               AS conversion_percent
    FROM session_metrics
    WHERE first_event_timestamp >= starts AND first_event_timestamp < ends
    HAVING count(*) > 0
) AS counted
ORDER BY first_day;

-- The columns of user_agents are NULL until its text is parsed.
CREATE OR REPLACE VIEW session_user_agents AS
SELECT s.session_id, s.user_id, s.first_event_timestamp, s.total_events, s.orders_count,
       s.total_revenue, s.is_bounce, s.user_agent, u.browser, u.browser_version, u.os, u.os_version,
       u.device_type, u.is_bot, u.bot_reason
FROM session_metrics s
LEFT JOIN user_agents u USING (user_agent);

-- A visitor belongs to the week of the first session.
CREATE OR REPLACE VIEW retention_cohorts AS
SELECT first_day AS cohort_week, weeks_later, visitors,
       round(100.0 * visitors / max(visitors) OVER (PARTITION BY first_day), 2) AS percent_of_cohort
FROM report_periods('week')
CROSS JOIN LATERAL (
    SELECT (date_trunc('week', later.first_event_timestamp AT TIME ZONE time_zone)::date
            - first_day) / 7 AS weeks_later,
           count(DISTINCT later.user_id) AS visitors
    FROM report_settings
    CROSS JOIN session_metrics first
    JOIN session_metrics later USING (user_id)
    WHERE first.first_event_timestamp >= starts AND first.first_event_timestamp < ends
      AND NOT EXISTS (
        SELECT FROM session_metrics earlier
        WHERE earlier.user_id = first.user_id AND earlier.first_event_timestamp < starts)
    GROUP BY 1
) AS counted
ORDER BY first_day, weeks_later;

-- The source of each session. Ten ad networks add a click id only to ads, so that it is enough. Meta
-- and Pinterest add one to every link, so that a referrer comes first. OFFSET 0 keeps PostgreSQL from
-- computing a value again in each expression that uses it.
CREATE OR REPLACE VIEW session_sources AS
SELECT s.session_id, s.user_id, s.first_event_timestamp, page.referrer_host,
       found.source, found.medium, page.campaign, page.term, page.content,
       click.id AS click_id, click.network AS click_network,
       page_path(s.landing_page) AS landing_path,
       default_channel_group(found.source, found.medium, page.campaign, site.category) AS channel,
       NOT EXISTS (
           SELECT FROM session_metrics earlier
           WHERE earlier.user_id = s.user_id
             AND (earlier.first_event_timestamp, earlier.first_event_id)
               < (s.first_event_timestamp, s.first_event_id)) AS is_new_visitor,
       (SELECT count(*) FROM session_metrics earlier
        WHERE earlier.user_id = s.user_id
          AND (earlier.first_event_timestamp, earlier.first_event_id)
           <= (s.first_event_timestamp, s.first_event_id)) AS session_number,
       s.is_bounce, s.orders_count, s.total_revenue, s.engaged_seconds
FROM session_metrics s
CROSS JOIN LATERAL (
    SELECT url_host(s.entry_referrer) AS referrer_host,
           url_host(s.landing_page) AS landing_host,
           nullif(btrim(url_parameter(s.landing_page, 'utm_source')), '') AS utm_source,
           nullif(btrim(url_parameter(s.landing_page, 'utm_medium')), '') AS utm_medium,
           nullif(btrim(url_parameter(s.landing_page, 'utm_campaign')), '') AS campaign,
           nullif(btrim(url_parameter(s.landing_page, 'utm_term')), '') AS term,
           nullif(btrim(url_parameter(s.landing_page, 'utm_content')), '') AS content
    OFFSET 0) AS page
LEFT JOIN LATERAL (
    SELECT id, network, source, medium
    FROM (VALUES
        (1, 'gclid', 'Google Ads', 'google', 'cpc'), (2, 'gbraid', 'Google Ads', 'google', 'cpc'),
        (3, 'wbraid', 'Google Ads', 'google', 'cpc'),
        (4, 'dclid', 'Google Marketing Platform', 'dfa', 'cpm'),
        (5, 'msclkid', 'Microsoft Advertising', 'bing', 'cpc'),
        (6, 'yclid', 'Yandex Direct', 'yandex', 'cpc'), (7, 'ttclid', 'TikTok', 'tiktok', 'cpc'),
        (8, 'twclid', 'X', 'twitter', 'cpc'), (9, 'li_fat_id', 'LinkedIn', 'linkedin', 'cpc'),
        (10, 'ScCid', 'Snapchat', 'snapchat', 'cpc'), (11, 'rdt_cid', 'Reddit', 'reddit', 'cpc'),
        (12, 'qclid', 'Quora', 'quora', 'cpc'), (13, 'fbclid', 'Meta', 'facebook', 'referral'),
        (14, 'epik', 'Pinterest', 'pinterest', 'referral')
        ) AS known (number, parameter, network, source, medium)
    CROSS JOIN LATERAL (SELECT url_parameter(s.landing_page, parameter) AS id OFFSET 0) AS click
    WHERE strpos(s.landing_page, '?') > 0 AND id IS NOT NULL
    ORDER BY number LIMIT 1) AS click ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN page.utm_source IS NOT NULL OR page.utm_medium IS NOT NULL THEN 'parameters'
                WHEN click.medium <> 'referral' THEN 'click'
                WHEN page.referrer_host IS NOT NULL
                 AND is_same_site(page.referrer_host, page.landing_host) IS NOT TRUE
                 AND NOT EXISTS (SELECT FROM site_hosts
                                 WHERE host = ANY (source_keys(page.referrer_host)))
                    THEN 'referrer'
                WHEN click.medium = 'referral' THEN 'click'
                ELSE 'nothing' END AS known_by
    OFFSET 0) AS decided
CROSS JOIN LATERAL (
    SELECT CASE known_by WHEN 'parameters' THEN coalesce(page.utm_source, '(not set)')
                         WHEN 'click' THEN click.source
                         WHEN 'referrer' THEN regexp_replace(page.referrer_host, '^www\.', '')
                         ELSE '(direct)' END AS source
    OFFSET 0) AS named
LEFT JOIN LATERAL (
    SELECT category, name FROM source_categories
    WHERE source_categories.source = ANY (source_keys(lower(named.source COLLATE "C")))
    ORDER BY length(source_categories.source) DESC LIMIT 1) AS site ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN known_by = 'referrer' AND site.category = 'search'
                THEN coalesce(site.name, named.source) ELSE named.source END AS source,
           CASE known_by WHEN 'parameters' THEN coalesce(page.utm_medium, '(not set)')
                         WHEN 'click' THEN click.medium
                         WHEN 'referrer' THEN CASE site.category
                             WHEN 'search' THEN 'organic' WHEN 'ai_assistant' THEN 'ai-assistant'
                             ELSE 'referral' END
                         ELSE '(none)' END AS medium
    OFFSET 0) AS found;

-- Each row starts from the visitor's first session, so that a filter by first_seen reads an index. With
-- OFFSET 0 the last source is computed only for the visitors that pass the filter.
CREATE OR REPLACE VIEW visitors AS
SELECT first.user_id, first.first_event_timestamp AS first_seen, total.last_seen, total.sessions,
       total.events, total.orders, total.revenue,
       (SELECT count(DISTINCT day)
        FROM report_settings
        CROSS JOIN session_metrics each
        CROSS JOIN LATERAL generate_series(
            (each.first_event_timestamp AT TIME ZONE time_zone)::date,
            (each.last_event_timestamp AT TIME ZONE time_zone)::date, interval '1 day') AS day
        WHERE each.user_id = first.user_id) AS active_days,
       first.source AS first_source, first.medium AS first_medium, first.channel AS first_channel,
       last.source AS last_source, last.medium AS last_medium, last.channel AS last_channel
FROM session_sources first
CROSS JOIN LATERAL (
    SELECT max(last_event_timestamp) AS last_seen, count(*) AS sessions,
           sum(total_events)::bigint AS events, sum(orders_count)::bigint AS orders,
           sum(total_revenue) AS revenue
    FROM session_metrics WHERE user_id = first.user_id) AS total
CROSS JOIN LATERAL (
    SELECT source, medium, channel FROM session_sources
    WHERE session_id = (
        SELECT session_id FROM session_metrics WHERE user_id = first.user_id
        ORDER BY first_event_timestamp DESC, first_event_id DESC LIMIT 1)
    OFFSET 0) AS last
WHERE first.is_new_visitor;

-- The lines of an order are one conversion, at the time of the first of them in the session.
-- The types are an array, so that PostgreSQL leaves out other events before it looks for sources.
CREATE OR REPLACE VIEW conversions AS
SELECT e.event_time AS conversion_time, e.event_type, e.user_id, e.order_id,
       (SELECT sum(line.price * coalesce(line.quantity, 1))
        FROM clickstream_events line
        WHERE line.user_id = e.user_id AND line.event_type = e.event_type
          AND line.event_time BETWEEN e.event_time AND s.last_event_timestamp
          AND (line.event_time, line.event_id) <= (s.last_event_timestamp, s.last_event_id)
          AND (line.order_id = e.order_id
               OR (line.event_time, line.event_id) = (e.event_time, e.event_id))) AS value,
       s.session_id, o.source, o.medium, o.campaign, o.channel, o.is_new_visitor
FROM clickstream_events e
JOIN session_metrics s
  ON s.user_id = e.user_id
 AND s.first_event_timestamp <= e.event_time
 AND s.last_event_timestamp >= e.event_time
 AND (e.event_time, e.event_id) BETWEEN (s.first_event_timestamp, s.first_event_id)
                                    AND (s.last_event_timestamp, s.last_event_id)
CROSS JOIN LATERAL (
    SELECT source, medium, campaign, channel, is_new_visitor
    FROM session_sources WHERE session_id = s.session_id
    OFFSET 0) AS o
WHERE e.event_type = ANY (ARRAY(SELECT event_type FROM conversion_events))
  AND (e.order_id IS NULL OR NOT EXISTS (
    SELECT FROM clickstream_events before
    WHERE before.user_id = e.user_id AND before.event_type = e.event_type
      AND before.order_id = e.order_id
      AND before.event_time BETWEEN s.first_event_timestamp AND e.event_time
      AND (before.event_time, before.event_id) >= (s.first_event_timestamp, s.first_event_id)
      AND (before.event_time, before.event_id) < (e.event_time, e.event_id)));

-- == Meaning of tables, views and columns: psql (\d+) and many other tools show it ===============

COMMENT ON TABLE clickstream_events IS
    'One row for each event, however often it was delivered.';
COMMENT ON COLUMN clickstream_events.event_id IS
    'Id of the event; unique together with event_time.';
COMMENT ON COLUMN clickstream_events.event_time IS
    'When the event happened, by the visitor''s clock.';
COMMENT ON COLUMN clickstream_events.event_type IS 'Type such as page_view, click or purchase.';
COMMENT ON COLUMN clickstream_events.user_id IS 'Id of the visitor.';
COMMENT ON COLUMN clickstream_events.page_url IS
    'Address of the page; page_path(page_url) is its path.';
COMMENT ON COLUMN clickstream_events.referrer IS 'Address of the page that the visitor came from.';
COMMENT ON COLUMN clickstream_events.user_agent IS 'The browser''s User-Agent header.';
COMMENT ON COLUMN clickstream_events.ip_address IS 'IP address of the visitor.';
COMMENT ON COLUMN clickstream_events.device_type IS 'Kind of device, such as mobile or desktop.';
COMMENT ON COLUMN clickstream_events.country IS 'Country of the visitor.';
COMMENT ON COLUMN clickstream_events.city IS 'City of the visitor.';
COMMENT ON COLUMN clickstream_events.success IS 'Whether a login succeeded.';
COMMENT ON COLUMN clickstream_events.product_id IS 'Id of the product that the event is about.';
COMMENT ON COLUMN clickstream_events.product_category IS 'Category of the product.';
COMMENT ON COLUMN clickstream_events.price IS 'Price of one unit, in the currency of the sender.';
COMMENT ON COLUMN clickstream_events.quantity IS
    'Number of units; 1 if it is NULL, negative for a return.';
COMMENT ON COLUMN clickstream_events.order_id IS
    'Id of the order; the lines of one order share it.';
COMMENT ON COLUMN clickstream_events.search_query IS 'What the visitor searched for.';
COMMENT ON COLUMN clickstream_events.element_id IS
    'Id of the page element that was clicked or hovered over.';
COMMENT ON COLUMN clickstream_events.viewport_size IS
    'Size of the browser window, such as 1280x720.';
COMMENT ON COLUMN clickstream_events.article_id IS 'Id of the article that the event is about.';
COMMENT ON COLUMN clickstream_events.article_category IS 'Category of the article.';
COMMENT ON COLUMN clickstream_events.visit_id IS 'The producer''s own id of the visit.';
COMMENT ON COLUMN clickstream_events.engaged_ms IS
    'Milliseconds of attention since the visitor''s event before, as the sender measured them.';
COMMENT ON COLUMN clickstream_events.properties IS
    'Fields without a column, and values as they were sent if they were repaired.';
COMMENT ON COLUMN clickstream_events.repaired IS
    'Fields whose value was lost or changed; NULL if there are none.';
COMMENT ON COLUMN clickstream_events.stored_at IS 'When the event was stored.';
COMMENT ON COLUMN clickstream_events.xid IS
    'Id of the transaction that stored the event; for the search indexer.';

COMMENT ON TABLE session_metrics IS
    'One row for each session. At every commit the rows follow from clickstream_events by the rule. '
    'Arrays and event_type_counts have the 1,000 smallest values, and of these as many as fit into '
    '256 KiB of JSON.';
COMMENT ON COLUMN session_metrics.session_id IS 'UUIDv5 of the visitor and the first event.';
COMMENT ON COLUMN session_metrics.user_id IS 'Id of the visitor.';
COMMENT ON COLUMN session_metrics.total_events IS 'Number of events.';
COMMENT ON COLUMN session_metrics.event_type_counts IS
    'Number of events by type, of the smallest types.';
COMMENT ON COLUMN session_metrics.first_event_timestamp IS 'Time of the first event.';
COMMENT ON COLUMN session_metrics.last_event_timestamp IS 'Time of the last event.';
COMMENT ON COLUMN session_metrics.first_event_id IS 'Id of the first event.';
COMMENT ON COLUMN session_metrics.last_event_id IS 'Id of the last event.';
COMMENT ON COLUMN session_metrics.session_duration_minutes IS
    'Minutes from the first event to the last one.';
COMMENT ON COLUMN session_metrics.unique_pages IS 'Distinct page_url of all events.';
COMMENT ON COLUMN session_metrics.unique_pages_count IS
    'Number of distinct page_url; exact up to 10,000, which is its maximum.';
COMMENT ON COLUMN session_metrics.landing_page IS 'page_url of the first event that has one.';
COMMENT ON COLUMN session_metrics.entry_referrer IS
    'referrer of the event that landing_page comes from; NULL if that event has none.';
COMMENT ON COLUMN session_metrics.exit_page IS 'page_url of the last event that has one.';
COMMENT ON COLUMN session_metrics.total_revenue IS
    'Sum of price times quantity of all purchase events; returns reduce it.';
COMMENT ON COLUMN session_metrics.orders_count IS
    'Number of distinct orders; a purchase event without order_id counts as one.';
COMMENT ON COLUMN session_metrics.products_viewed IS
    'Distinct product_id of page_view, click, hover, scroll and add_to_cart events.';
COMMENT ON COLUMN session_metrics.products_viewed_count IS
    'Number of distinct products viewed, up to 10,000.';
COMMENT ON COLUMN session_metrics.search_queries IS 'Distinct search_query of search events.';
COMMENT ON COLUMN session_metrics.referrers IS 'Distinct referrer of all events.';
COMMENT ON COLUMN session_metrics.unique_referrers_count IS
    'Number of distinct referrers, up to 10,000.';
COMMENT ON COLUMN session_metrics.user_agent IS 'user_agent of the first event that has one.';
COMMENT ON COLUMN session_metrics.ip_address IS 'ip_address of the first event that has one.';
COMMENT ON COLUMN session_metrics.device_type IS 'device_type of the first event that has one.';
COMMENT ON COLUMN session_metrics.country IS 'country of the first event that has one.';
COMMENT ON COLUMN session_metrics.is_bounce IS
    'True if the session lasted at most 10 seconds, with no purchase and at most one page_view event.';
COMMENT ON COLUMN session_metrics.engaged_seconds IS
    'Sum of engaged_ms of all events, in seconds; NULL if no event has one.';
COMMENT ON COLUMN session_metrics.closed_at IS
    'When the session was closed; NULL while it is open. A late event opens it again.';
COMMENT ON COLUMN session_metrics.close_reason IS
    'timeout or end_event; NULL while the session is open.';
COMMENT ON COLUMN session_metrics.xid IS
    'Id of the transaction that last changed the session or one next to it; for consumers, which '
    'write a row only if it is still the one that they have read.';

COMMENT ON TABLE user_agents IS
    'One row for each distinct user_agent of clickstream_events, written by consumers soon after the '
    'event. python -m clickstream user-agents refresh parses texts that are missing and those parsed '
    'by other rules, and deletes those that no event has any more.';
COMMENT ON COLUMN user_agents.user_agent IS 'The text, as in clickstream_events and session_metrics.';
COMMENT ON COLUMN user_agents.browser IS
    'Browser or program, such as Chrome, Mobile Safari or Googlebot; NULL if the rules do not know it.';
COMMENT ON COLUMN user_agents.browser_version IS 'Version of the browser, such as 128.0.6613.';
COMMENT ON COLUMN user_agents.os IS 'Operating system, such as Windows, iOS or Android.';
COMMENT ON COLUMN user_agents.os_version IS
    'Version of the operating system. Browsers often send a fixed one: 10 for each newer Windows.';
COMMENT ON COLUMN user_agents.device_type IS 'desktop, mobile, tablet, tv, console, or NULL.';
COMMENT ON COLUMN user_agents.is_bot IS
    'True if a rule says that no person sends this text: bot_reason is not NULL.';
COMMENT ON COLUMN user_agents.bot_reason IS
    'Name of the bot, and in parentheses the list or rule that knows it; NULL if it is no bot.';
COMMENT ON COLUMN user_agents.rules_version IS 'Versions of the rules by which it was parsed.';
COMMENT ON COLUMN user_agents.parsed_at IS 'When it was parsed.';

COMMENT ON TABLE rejected_events IS 'One row for each record that could not become an event.';
COMMENT ON COLUMN rejected_events.topic IS 'Topic of the record.';
COMMENT ON COLUMN rejected_events.topic_id IS 'Id of the topic; a recreated topic has another one.';
COMMENT ON COLUMN rejected_events.partition IS 'Partition of the record.';
COMMENT ON COLUMN rejected_events."offset" IS 'Offset of the record in its partition.';
COMMENT ON COLUMN rejected_events.reason IS 'Code of the reason, such as not_json.';
COMMENT ON COLUMN rejected_events.detail IS 'The reason in one sentence.';
COMMENT ON COLUMN rejected_events.key IS 'Key of the record.';
COMMENT ON COLUMN rejected_events.value IS
    'Value of the record. If IP_ADDRESSES is not full: its JSON object with limited addresses, and '
    'NULL for any other value.';
COMMENT ON COLUMN rejected_events.record_timestamp IS 'The record''s timestamp in Kafka.';
COMMENT ON COLUMN rejected_events.rejected_at IS 'When the record was rejected.';
COMMENT ON COLUMN rejected_events.derived_event_id IS
    'Id that the event gets if it has none, derived from the value as it was sent; NULL if the value '
    'here is that one.';

COMMENT ON TABLE stream_positions IS
    'Progress of each partition. It moves in the transaction that stores the records before it.';
COMMENT ON COLUMN stream_positions.topic IS
    'Name of the topic; (forgotten) in the row with the counters of forgotten partitions, (removed) '
    'in the row that counts removed events, which have no partition.';
COMMENT ON COLUMN stream_positions.partition IS 'Number of the partition.';
COMMENT ON COLUMN stream_positions.topic_id IS
    'Id of the topic; a recreated topic has another one.';
COMMENT ON COLUMN stream_positions.position IS 'Offset of the next record to read.';
COMMENT ON COLUMN stream_positions.epoch IS 'Number that grows with each owner (fencing).';
COMMENT ON COLUMN stream_positions.cluster_id IS 'Kafka cluster of the owner.';
COMMENT ON COLUMN stream_positions.group_id IS 'Consumer group of the owner.';
COMMENT ON COLUMN stream_positions.owner IS
    'Host and process of the consumer that reads the partition.';
COMMENT ON COLUMN stream_positions.owner_pid IS 'Process id of the owner''s PostgreSQL backend.';
COMMENT ON COLUMN stream_positions.owner_start IS 'Start of the owner''s PostgreSQL backend.';
COMMENT ON COLUMN stream_positions.member_id IS 'Id of the owner in its consumer group.';
COMMENT ON COLUMN stream_positions.watermark IS 'Largest event time, counted up to now at most.';
COMMENT ON COLUMN stream_positions.watermark_at IS 'When the watermark last moved.';
COMMENT ON COLUMN stream_positions.last_record_at IS
    'When a batch last had a record of the partition.';
COMMENT ON COLUMN stream_positions.caught_up_at IS
    'When the end of the partition was last reached.';
COMMENT ON COLUMN stream_positions.records IS
    'Records read: events + duplicates + rejected + removed.';
COMMENT ON COLUMN stream_positions.duplicates IS 'Records whose event was stored already.';
COMMENT ON COLUMN stream_positions.late IS 'Events far behind the watermark.';
COMMENT ON COLUMN stream_positions.rejected IS 'Records that became rows of rejected_events.';
COMMENT ON COLUMN stream_positions.removed IS
    'Records whose event or rejected record was removed, and records read since that are not kept.';

COMMENT ON TABLE session_rule IS 'The session rule that session_metrics follows. One row.';
COMMENT ON COLUMN session_rule.only_row IS 'Always true.';
COMMENT ON COLUMN session_rule.timeout_seconds IS
    'Seconds without an event after which a new session starts.';
COMMENT ON COLUMN session_rule.start_events IS 'Types of events that start a session.';
COMMENT ON COLUMN session_rule.end_events IS 'Types of events that end a session.';
COMMENT ON COLUMN session_rule.version IS 'Number that grows with each change of the rule.';
COMMENT ON COLUMN session_rule.metrics_version IS
    'Version of the metrics, by the program that computed them.';

COMMENT ON TABLE record_reading IS 'How records become events. One row.';
COMMENT ON COLUMN record_reading.only_row IS 'Always true.';
COMMENT ON COLUMN record_reading.event_fields IS 'EVENT_FIELDS, in canonical form.';
COMMENT ON COLUMN record_reading.event_types IS 'EVENT_TYPES, in canonical form.';
COMMENT ON COLUMN record_reading.min_event_time IS 'MIN_EVENT_TIME: earlier events are rejected.';
COMMENT ON COLUMN record_reading.ip_addresses IS
    'IP_ADDRESSES: how much of each address is stored.';
COMMENT ON COLUMN record_reading.renamed_fields IS
    'Fields whose names changed after records had been read.';

COMMENT ON TABLE event_retention IS
    'The time from which events are kept, set by the command retain. One row; none if all events '
    'are kept.';
COMMENT ON COLUMN event_retention.only_row IS 'Always true.';
COMMENT ON COLUMN event_retention.kept_from IS
    'An earlier event that is not stored is not accepted; it counts as removed.';
COMMENT ON COLUMN event_retention.removed_before IS
    'Sessions whose last event is earlier are removed, with their events.';

COMMENT ON TABLE erasure_keys IS 'The keys of the hashes in erased_visitors.';
COMMENT ON COLUMN erasure_keys.key IS 'Key of HMAC-SHA-256.';
COMMENT ON COLUMN erasure_keys.created_at IS 'When the key was stored.';

COMMENT ON TABLE erased_visitors IS
    'Visitors that the command erase has erased; records of them count as removed.';
COMMENT ON COLUMN erased_visitors.visitor_hash IS 'HMAC-SHA-256 of the id.';
COMMENT ON COLUMN erased_visitors.erased_at IS 'When the visitor was erased.';

COMMENT ON TABLE session_changes IS
    'The change log: the indexer indexes these sessions and their events again.';
COMMENT ON COLUMN session_changes.xid IS 'Id of the transaction that changed the sessions.';
COMMENT ON COLUMN session_changes.user_id IS
    'Visitor whose sessions changed; empty if they were removed with their events.';
COMMENT ON COLUMN session_changes.from_time IS 'Start of the range of events.';
COMMENT ON COLUMN session_changes.to_time IS 'End of the range of events.';
COMMENT ON COLUMN session_changes.regrouped IS 'True if events moved to other sessions.';
COMMENT ON COLUMN session_changes.removed IS 'Sessions that no longer exist.';
COMMENT ON COLUMN session_changes.removed_events IS
    'Document ids of events that were removed.';
COMMENT ON COLUMN session_changes.changed_at IS 'When the sessions changed.';

COMMENT ON TABLE search_cursor IS 'The checkpoint of the search indexer. One row.';
COMMENT ON COLUMN search_cursor.only_row IS 'Always true.';
COMMENT ON COLUMN search_cursor.horizon IS 'Earlier transactions are indexed.';
COMMENT ON COLUMN search_cursor.token IS 'Random text that the index holds, too.';
COMMENT ON COLUMN search_cursor.system_identifier IS
    'Identifier of the indexed PostgreSQL cluster.';
COMMENT ON COLUMN search_cursor.moved_at IS 'When the checkpoint last moved.';
COMMENT ON COLUMN search_cursor.filled_time IS
    'event_time of the last event that the backfill indexed; NULL when it is complete.';
COMMENT ON COLUMN search_cursor.filled_id IS
    'event_id of the last event that the backfill indexed; NULL when it is complete.';
COMMENT ON COLUMN search_cursor.announced IS
    'Number of the last step whose documents may have been sent; NULL before the first one.';

COMMENT ON TABLE search_refused_documents IS
    'Documents that OpenSearch refused for their content.';
COMMENT ON COLUMN search_refused_documents.index_name IS 'Index of the document.';
COMMENT ON COLUMN search_refused_documents.document_id IS 'Id of the document.';
COMMENT ON COLUMN search_refused_documents.status IS 'HTTP status of the answer.';
COMMENT ON COLUMN search_refused_documents.reason IS 'Reason that OpenSearch gave.';
COMMENT ON COLUMN search_refused_documents.refused_at IS 'When the document was refused.';

COMMENT ON TABLE source_categories IS
    'Kinds of well-known sites. You may add rows, and change the category and name of others; an '
    'upgrade adds only rows that are missing. A host matches the longest entry that is the host '
    'itself, a parent domain, or name.*: that name under the domain of any country.';
COMMENT ON COLUMN source_categories.source IS
    'Host, in lower case and without www.; name.* for the domains of all countries; or a name that '
    'utm_source may have, such as fb.';
COMMENT ON COLUMN source_categories.category IS
    'search, social, shopping, video, ai_assistant, or other for none of these.';
COMMENT ON COLUMN source_categories.name IS
    'Source of the visits that a search engine refers; NULL for the host.';
COMMENT ON TABLE site_hosts IS
    'Your own hosts, and those of payment pages: a referrer on one of them is not a source. A row '
    'includes subdomains. Without rows, only the host of the landing page is your own.';
COMMENT ON COLUMN site_hosts.host IS 'Host in lower case, such as shop.example.';
COMMENT ON TABLE conversion_events IS 'Types of events that the view conversions counts.';
COMMENT ON COLUMN conversion_events.event_type IS 'Type of event.';

COMMENT ON TABLE schema_version IS 'The versions of schema.sql that were applied.';
COMMENT ON COLUMN schema_version.version IS 'Number of the version.';
COMMENT ON COLUMN schema_version.applied_at IS 'When the version was applied.';

COMMENT ON TABLE report_settings IS 'How the views count days, weeks and hours. One row.';
COMMENT ON COLUMN report_settings.only_row IS 'Always true.';
COMMENT ON COLUMN report_settings.time_zone IS 'REPORT_TIMEZONE, as create_schema.py last read it.';

COMMENT ON FUNCTION page_path IS 'The path of an address, without origin, query and fragment.';
COMMENT ON FUNCTION url_origin IS
    'Scheme, host and port of an address, in lower case; NULL if it has no host.';
COMMENT ON FUNCTION url_host IS 'The host of an address, in lower case; NULL if it has none.';
COMMENT ON FUNCTION url_decoded IS 'A text of a query, with + and escapes decoded.';
COMMENT ON FUNCTION url_parameter IS
    'The first value of a parameter of an address, decoded; NULL if it is absent or empty.';
COMMENT ON FUNCTION source_keys IS
    'Entries of source_categories and site_hosts that a host can match.';
COMMENT ON FUNCTION is_same_site IS 'True if two hosts are equal or one is a subdomain of the other.';
COMMENT ON FUNCTION default_channel_group IS 'The channel by the default channel groups of GA4.';
COMMENT ON FUNCTION report_periods IS
    'The days or weeks from the first event to the last one, in the time zone of report_settings.';

COMMENT ON VIEW events_with_session IS 'Each event with the id of its session.';
COMMENT ON VIEW open_sessions IS 'Sessions that are not closed.';
COMMENT ON VIEW latest_sessions IS 'All sessions, the latest first.';
COMMENT ON VIEW session_user_agents IS
    'Each session with the browser, operating system and bot mark of its user_agent.';
COMMENT ON VIEW conversion_funnel IS 'Number of sessions with each step of the shop''s funnel.';
COMMENT ON VIEW funnel_by_day IS 'The funnel of the sessions that began on each day.';
COMMENT ON VIEW hourly_traffic IS 'Events by hour of event_time.';
COMMENT ON VIEW daily_traffic IS 'Sessions by the day on which they began, with their events.';
COMMENT ON VIEW retention_cohorts IS
    'New visitors by the week of their first session, and how many of them had sessions later.';

COMMENT ON VIEW session_sources IS
    'The source of each session; docs/sources.md has the rules.';
COMMENT ON VIEW visitors IS 'One row for each visitor.';
COMMENT ON VIEW conversions IS
    'One row for each conversion: an order, or an event of another type of conversion_events.';

COMMENT ON COLUMN events_with_session.page_path IS 'Path of page_url.';
COMMENT ON COLUMN open_sessions.landing_path IS 'Path of landing_page.';
COMMENT ON COLUMN open_sessions.exit_path IS 'Path of exit_page.';
COMMENT ON COLUMN latest_sessions.landing_path IS 'Path of landing_page.';
COMMENT ON COLUMN latest_sessions.exit_path IS 'Path of exit_page.';
COMMENT ON COLUMN session_sources.referrer_host IS 'Host of entry_referrer.';
COMMENT ON COLUMN session_sources.source IS
    'utm_source, the ad network, the site or search engine of the referrer, or (direct).';
COMMENT ON COLUMN session_sources.medium IS
    'utm_medium, or cpc, cpm, organic, referral, ai-assistant or (none).';
COMMENT ON COLUMN session_sources.campaign IS 'utm_campaign of landing_page.';
COMMENT ON COLUMN session_sources.term IS 'utm_term of landing_page.';
COMMENT ON COLUMN session_sources.content IS 'utm_content of landing_page.';
COMMENT ON COLUMN session_sources.click_id IS 'Id that an ad network gave the click.';
COMMENT ON COLUMN session_sources.click_network IS 'Ad network that click_id is from.';
COMMENT ON COLUMN session_sources.landing_path IS 'Path of landing_page.';
COMMENT ON COLUMN session_sources.channel IS 'Channel by the default channel groups of GA4.';
COMMENT ON COLUMN session_sources.is_new_visitor IS
    'True if the session is the visitor''s first one; false for a returning visitor.';
COMMENT ON COLUMN session_sources.session_number IS 'Number of the session among those of its visitor, from 1.';
COMMENT ON COLUMN visitors.user_id IS 'Id of the visitor.';
COMMENT ON COLUMN visitors.first_seen IS 'Time of the first event.';
COMMENT ON COLUMN visitors.last_seen IS 'Time of the last event.';
COMMENT ON COLUMN visitors.sessions IS 'Number of sessions.';
COMMENT ON COLUMN visitors.events IS 'Number of events.';
COMMENT ON COLUMN visitors.orders IS 'Number of orders, by session.';
COMMENT ON COLUMN visitors.revenue IS 'Revenue of all sessions.';
COMMENT ON COLUMN visitors.active_days IS
    'Number of days that the sessions touch, in the time zone of report_settings.';
COMMENT ON COLUMN visitors.first_source IS 'Source of the first session.';
COMMENT ON COLUMN visitors.first_medium IS 'Medium of the first session.';
COMMENT ON COLUMN visitors.first_channel IS 'Channel of the first session.';
COMMENT ON COLUMN visitors.last_source IS 'Source of the last session.';
COMMENT ON COLUMN visitors.last_medium IS 'Medium of the last session.';
COMMENT ON COLUMN visitors.last_channel IS 'Channel of the last session.';
COMMENT ON COLUMN conversions.conversion_time IS
    'Time of the event; of an order, of its first line in the session.';
COMMENT ON COLUMN conversions.value IS
    'Sum of price times quantity of its events in the session; NULL without a price.';
COMMENT ON COLUMN conversions.session_id IS 'Session of the conversion.';
COMMENT ON COLUMN conversions.source IS 'Source of the session.';
COMMENT ON COLUMN conversions.medium IS 'Medium of the session.';
COMMENT ON COLUMN conversions.campaign IS 'Campaign of the session.';
COMMENT ON COLUMN conversions.channel IS 'Channel of the session.';
COMMENT ON COLUMN conversions.is_new_visitor IS
    'True if the session is the visitor''s first one.';
COMMENT ON COLUMN session_user_agents.device_type IS
    'Device type by the rules for user agents; session_metrics.device_type is as sent.';
COMMENT ON COLUMN conversion_funnel.step IS 'Number of the step, from 1 to 3.';
COMMENT ON COLUMN conversion_funnel.event_type IS 'Type of event of the step.';
COMMENT ON COLUMN conversion_funnel.sessions IS 'Sessions with at least one such event.';
COMMENT ON COLUMN conversion_funnel.percent_of_largest IS 'Percent of the step with most sessions.';
COMMENT ON COLUMN funnel_by_day.day IS 'Day in the time zone of report_settings.';
COMMENT ON COLUMN funnel_by_day.step IS 'Number of the step, from 1 to 3.';
COMMENT ON COLUMN funnel_by_day.event_type IS 'Type of event of the step.';
COMMENT ON COLUMN funnel_by_day.sessions IS 'Sessions of the day with at least one such event.';
COMMENT ON COLUMN funnel_by_day.percent_of_largest IS 'Percent of the step with most sessions.';
COMMENT ON COLUMN hourly_traffic.hour IS 'Start of the hour, in the time zone of report_settings.';
COMMENT ON COLUMN hourly_traffic.events IS 'Number of events.';
COMMENT ON COLUMN hourly_traffic.visitors IS 'Number of distinct visitors.';
COMMENT ON COLUMN hourly_traffic.revenue IS 'Sum of price times quantity of purchase events.';
COMMENT ON COLUMN daily_traffic.day IS 'Day in the time zone of report_settings.';
COMMENT ON COLUMN daily_traffic.visitors IS 'Number of distinct visitors.';
COMMENT ON COLUMN daily_traffic.sessions IS 'Sessions that began on the day.';
COMMENT ON COLUMN daily_traffic.events IS 'Events of these sessions, also of those after midnight.';
COMMENT ON COLUMN daily_traffic.orders IS 'Orders of these sessions.';
COMMENT ON COLUMN daily_traffic.revenue IS 'Revenue of these sessions.';
COMMENT ON COLUMN daily_traffic.bounce_percent IS 'Percent of the sessions that are bounces.';
COMMENT ON COLUMN daily_traffic.conversion_percent IS 'Percent of the sessions with an order.';
COMMENT ON COLUMN retention_cohorts.cohort_week IS 'Monday of the week of the first session.';
COMMENT ON COLUMN retention_cohorts.weeks_later IS 'Number of weeks after it; 0 is the same week.';
COMMENT ON COLUMN retention_cohorts.visitors IS 'Visitors of the cohort with sessions in that week.';
COMMENT ON COLUMN retention_cohorts.percent_of_cohort IS 'Percent of all visitors of the cohort.';

-- The other columns of the views have the meaning of the column of the same name in a table.
DO $$
DECLARE
    missing record;
BEGIN
    FOR missing IN
        SELECT a.attrelid::regclass AS view_name, a.attname, described.description
        FROM pg_attribute a
        CROSS JOIN LATERAL (
            SELECT col_description(t.attrelid, t.attnum) AS description
            FROM pg_attribute t
            WHERE t.attrelid IN ('clickstream_events'::regclass, 'session_metrics'::regclass,
                                 'user_agents'::regclass)
              AND t.attname = a.attname
            ORDER BY t.attrelid LIMIT 1) AS described
        WHERE a.attrelid IN ('events_with_session'::regclass, 'open_sessions'::regclass,
                             'latest_sessions'::regclass, 'session_sources'::regclass,
                             'session_user_agents'::regclass, 'conversions'::regclass)
          AND col_description(a.attrelid, a.attnum) IS NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L',
                       missing.view_name, missing.attname, missing.description);
    END LOOP;
END
$$;
