import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.codelibs.opensearch.runner.node.OpenSearchRunnerNode;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.ingest.common.IngestCommonPlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.transport.Netty4Plugin;

/**
 * An OpenSearch node in the home folder args[0], with config/opensearch.yml in it. Its own main class wants modules as
 * its archive has them, which Maven Central has not.
 */
public class OpenSearchServer {
  public static void main(String[] args) throws Exception {
    var home = Path.of(args[0]).toAbsolutePath();
    var given = Settings.builder().put("path.home", home).build();
    LogConfigurator.configureWithoutConfig(given);
    var environment =
        InternalSettingsPreparer.prepareEnvironment(given, Map.of(), home.resolve("config"), () -> "node-1");
    var node = new OpenSearchRunnerNode(environment, List.of(Netty4Plugin.class, IngestCommonPlugin.class));
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try {
        node.close();
      } catch (Exception failed) {
        failed.printStackTrace();
      }
    }));
    node.start();
    new CountDownLatch(1).await();
  }
}
