import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;

/**
 * An Elasticsearch node in the home folder args[0], with config/elasticsearch.yml and modules/ in it.
 * Its own main class wants to be told by a launcher that Maven Central does not have.
 */
public class ElasticsearchServer {
  public static void main(String[] args) throws Exception {
    var home = Path.of(args[0]).toAbsolutePath();
    var given = Settings.builder().put("path.home", home).build();
    LogConfigurator.configureESLogging();
    LogConfigurator.configureWithoutConfig(given);
    var environment =
        InternalSettingsPreparer.prepareEnvironment(given, Map.of(), home.resolve("config"), () -> "node-1");
    var node = new Node(environment);
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
